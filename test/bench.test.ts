import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { imports } from '../bench/parts/imports.ts'

// That it still runs, on as little as possible; how fast is for `npm run bench`.

const withPsql = {
  skip: spawnSync('psql', ['--version']).error && !process.env.CI ? 'psql is not installed' : false,
}

test('the benchmark of imports runs', withPsql, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-bench-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const results = await imports.run({ scale: 0.001, rounds: 1, folder })
  for (const { measure, figures, ratios } of results) {
    assert.equal(ratios.length, 1, measure)
    for (const { rounds } of figures)
      assert.ok(
        rounds.every((value) => value > 0),
        measure,
      )
  }
})
