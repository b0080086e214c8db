import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Part } from '../bench/part.ts'
import { imports } from '../bench/parts/imports.ts'
import { processes } from '../bench/parts/processes.ts'

// That they still run, on as little as possible; how fast is for `npm run bench`.

const withPsql = {
  skip: spawnSync('psql', ['--version']).error && !process.env.CI ? 'psql is not installed' : false,
}

async function tryOut(part: Part) {
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-bench-'))
  try {
    return await part.run({ scale: 0.001, rounds: 1, folder })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

for (const [part, options] of [
  [imports, withPsql],
  [processes, {}],
] as const)
  test(`the benchmark ${part.name} runs`, options, async () => {
    const results = await tryOut(part)
    assert.ok(results.length > 0)
    for (const { measure, figures, ratios } of results) {
      assert.equal(ratios.length, 1, measure)
      for (const { rounds } of figures)
        assert.ok(
          rounds.every((value) => value > 0),
          measure,
        )
    }
  })
