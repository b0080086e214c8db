/**
 * Measures what the goals in bench/README.md are about, each figure as a ratio within one run, prints a table and writes
 * bench/results/latest.json.
 *   npm run bench -- [part …] [--scale 0.1]
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Part, Result } from './part.ts'
import { importMemory, imports } from './parts/imports.ts'
import { passwords } from './parts/passwords.ts'
import { processes } from './parts/processes.ts'
import { requests } from './parts/requests.ts'
import { saturation } from './parts/saturation.ts'
import { size } from './parts/size.ts'
import { start } from './parts/start.ts'
import { percentile } from './support/figures.ts'

const parts: Part[] = [requests, passwords, saturation, start, imports, importMemory, size, processes]

const { values, positionals } = parseArgs({
  options: { scale: { type: 'string', default: '1' } },
  allowPositionals: true,
})
const scale = Number(values.scale)
const rounds = 6 // of everything in under fifteen minutes, also where the machine is slower by a third
const chosen = positionals.length === 0 ? parts : parts.filter(({ name }) => positionals.includes(name))
if (chosen.length === 0) throw new Error(`The parts are: ${parts.map(({ name }) => name).join(', ')}`)

const began = new Date()
const loadBefore = loadavg().map((value) => Number(value.toFixed(2)))
const results: (Result & { part: string; median: number; met: boolean })[] = []
for (const part of chosen) {
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-bench-'))
  const from = performance.now()
  try {
    for (const result of await part.run({ scale, rounds, folder })) {
      const median = percentile(result.ratios, 0.5)
      results.push({ part: part.name, ...result, median, met: isMet(result.goal, median) })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  console.error(`${part.name}: ${Math.round((performance.now() - from) / 1000)} s`)
}
print()
if (scale === 1) await keep()

function isMet(goal: Result['goal'], median: number): boolean {
  return 'atLeast' in goal ? median >= goal.atLeast : median <= goal.atMost
}

function print(): void {
  for (const { measure, floor, figures, ratios, unit = '', goal, median, met, note } of results) {
    const [least, most] = [Math.min(...ratios), Math.max(...ratios)]
    const wanted = 'atLeast' in goal ? `>= ${goal.atLeast}` : `<= ${goal.atMost}`
    console.log(
      `${met ? 'met   ' : 'MISSED'} ${measure}: ${show(median)}${unit} (${show(least)} to ${show(most)}), goal ${wanted}${unit}`,
    )
    if (floor) console.log(`         against: ${floor}`)
    for (const { of, unit: each, rounds } of figures)
      console.log(
        `         ${of}: ${show(percentile(rounds, 0.5))} ${each} (${show(Math.min(...rounds))} to ${show(Math.max(...rounds))})`,
      )
    if (note) console.log(`         ${note}`)
  }
}

function show(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}

async function keep(): Promise<void> {
  const file = new URL('results/latest.json', import.meta.url)
  const machine = {
    processors: cpus().length,
    model: cpus()[0]?.model,
    memory_bytes: totalmem(),
    load_average_before: loadBefore,
    node: process.version,
    began_at: began.toISOString(),
    seconds: Math.round((Date.now() - began.getTime()) / 1000),
    shared: 'Postgres, the service and the load generator share the processors.',
  }
  await mkdir(new URL('.', file), { recursive: true })
  await writeFile(
    file,
    `${JSON.stringify({ machine, parts: chosen.map(({ name }) => name), results }, null, 2)}\n`,
  )
}
