/**
 * Whether reading stays fast while more passwords are to be hashed than the cores can hash. Rounds with an idle and
 * with a saturated pool take turns, so that what else the machine does hits both; what is compared is compared within
 * one run. The clients run on the same cores as the service.
 *   npm run bench:saturation -- [rounds] [seconds for each measurement] [passwords under way]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadOrCreateKeys } from '../src/keys.ts'
import { scopes } from '../src/scopes.ts'
import { percentile } from './support/figures.ts'
import { startService, stop } from './support/system.ts'

const rounds = Number(process.argv[2] ?? 5)
const ms = Number(process.argv[3] ?? 4) * 1000
const passwords = Number(process.argv[4] ?? 64)
const readers = 4
const pauseMs = 5 // between two reads of a reader, so that reading alone does not fill the cores
const address = 'reader@example.jp'
const folder = await mkdtemp(join(tmpdir(), 'mailwright-bench-'))
const { child, url } = await startService(folder)
const keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
const token = await keys.sign({ subject: 'bench', scopes, domains: '*', expiresInSeconds: 3600 })

async function call(method: string, path: string, body?: object): Promise<string> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path} answers ${response.status}: ${text}`)
  return text
}

/** Runs `one` again and again, so many at a time, until told to stop. Returns the milliseconds of each. */
async function repeat(
  one: () => Promise<unknown>,
  parallel: number,
  until: () => boolean,
): Promise<number[]> {
  const times: number[] = []
  const worker = async () => {
    while (!until()) {
      const began = performance.now()
      await one()
      times.push(performance.now() - began)
      if (one === read) await sleep(pauseMs)
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return times
}

const read = () => call('GET', `/v1/mailboxes/${address}`)

async function readFor(milliseconds: number): Promise<number[]> {
  const end = performance.now() + milliseconds
  return repeat(read, readers, () => performance.now() >= end)
}

/** How many passwords wait for their turn, as the service itself says. */
async function waiting(): Promise<number> {
  return Number(/^mailwright_passwords_waiting (\d+)$/m.exec(await call('GET', '/metrics'))?.[1])
}

let name = 0
const create = () => {
  name += 1
  return call('POST', '/v1/mailboxes', { address: `made${name}@example.jp`, generate_password: true })
}

interface Saturated {
  reads: number[]
  creates: number[]
  waited: number
}

async function readWhileSaturated(): Promise<Saturated> {
  let over = false
  const creating = repeat(create, passwords, () => over)
  while ((await waiting()) < passwords / 2) await sleep(10)
  const reads = await readFor(ms)
  const waited = await waiting()
  over = true
  return { reads, creates: await creating, waited }
}

const report = (what: string, text: string) => console.log(`${what.padEnd(62)} ${text}`)
const figures = (times: readonly number[]) =>
  [0.5, 0.99, 1].map((share) => percentile(times, share).toFixed(1).padStart(8)).join('')

try {
  await call('POST', '/v1/domains', { name: 'example.jp' })
  await call('POST', '/v1/mailboxes', { address, generate_password: true })
  await readFor(ms) // warm
  const idle: number[][] = []
  const busy: Saturated[] = []
  for (let round = 0; round < rounds; round++) {
    idle.push(await readFor(ms))
    busy.push(await readWhileSaturated())
  }
  const ratio = (share: number) => {
    const each = idle.map((times, i) => percentile(busy[i]!.reads, share) / percentile(times, share))
    return `${percentile(each, 0.5).toFixed(1)} (${Math.min(...each).toFixed(1)}–${Math.max(...each).toFixed(1)})`
  }
  report(`milliseconds, ${availableParallelism()} cores, ${rounds} rounds`, '     p50     p99     max')
  report('GET of a mailbox, no password to hash', figures(idle.flat()))
  report(`GET of a mailbox, ${passwords} passwords under way`, figures(busy.flatMap(({ reads }) => reads)))
  report('creates with a password meanwhile', figures(busy.flatMap(({ creates }) => creates)))
  report(
    'passwords waiting at the end of each round, least',
    `${Math.min(...busy.map(({ waited }) => waited))}`,
  )
  report('p50 of GET, saturated to idle (median of rounds, least–most)', ratio(0.5))
  report('p99 of GET, saturated to idle (median of rounds, least–most)', ratio(0.99))
} finally {
  await stop(child)
  await rm(folder, { recursive: true, force: true })
}
