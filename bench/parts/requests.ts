import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Context, compare, type Part, type Result } from '../part.ts'
import { call } from '../support/api.ts'
import { type Installation, openInstallation, type Running, spawnService } from '../support/installation.ts'
import { type Load, load, type Measured } from '../support/load.ts'
import { statementOf } from '../support/statements.ts'
import { inTurns } from '../support/turns.ts'

const domain = 'example.jp'
const connections = 16

/** Reads, creates on accounts that exist, and PUT of what is equal already, each against a floor. */
export const requests: Part = {
  name: 'requests',
  async run(context) {
    const installation = await openInstallation(context.folder)
    try {
      return await measure(context, installation)
    } finally {
      await installation.close()
    }
  },
}

interface Sides {
  installation: Installation
  service: Running
  floor: Running
  seconds: number
  rounds: number
}

async function measure(context: Context, installation: Installation): Promise<Result[]> {
  const service = await installation.startService({ LOG_LEVEL: 'info' })
  await prepare(installation, service)
  const get = await statementOf(installation, { method: 'GET', url: `/v1/mailboxes/reader@${domain}` })
  const name = 'linked0'
  const payload = { address: `${name}@${domain}`, create_account: false }
  const create = {
    ...(await statementOf(installation, { method: 'POST', url: '/v1/mailboxes', payload })),
    name,
  }
  const floor = await spawnService(new URL('../support/floor.ts', import.meta.url).pathname, {
    FLOOR: JSON.stringify({ url: installation.serviceUrl, get, create }),
  })
  const sides: Sides = {
    installation,
    service,
    floor,
    seconds: Math.max(1, 4 * context.scale),
    rounds: context.rounds,
  }
  try {
    return [...(await reads(sides)), ...(await creates(sides, create.text, create.values, name))]
  } finally {
    await floor.stop()
  }
}

const accounts = 400_000

async function prepare({ admin, token }: Installation, { url }: Running): Promise<void> {
  const caller = { url, token }
  await call(caller, 'POST', '/v1/domains', { name: domain })
  await call(caller, 'POST', '/v1/mailboxes', { address: `reader@${domain}`, generate_password: true })
  await admin.query('create table bench_keys (key text primary key)')
  await admin.query('grant insert on bench_keys to mailwright_service')
  await admin.query(
    `insert into app.accounts (name, authentication) select 'linked' || i, 'local' from generate_series(0, $1::int - 1) as i`,
    [accounts],
  )
  await admin.query('analyze app.accounts')
}

const perSecond = ({ perSecond: value }: Measured) => value

async function reads({ installation, service, floor, seconds, rounds }: Sides): Promise<Result[]> {
  const { token } = installation
  const common = { connections, seconds, expect: 200 }
  const get: Load = { ...common, url: service.url, path: `/v1/mailboxes/reader@${domain}`, token }
  const bare: Load = { ...common, url: floor.url, path: '/get' }
  const put: Load = { ...get, method: 'PUT', body: () => ({}) }
  // until V8 has compiled what is hot, which takes the service longer, since it has more of it
  for (const side of [get, bare]) await load({ ...side, seconds: 2 * seconds })
  const turns = await inTurns(rounds, [() => load(get), () => load(bare), () => load(put)])
  const [gets, bares, puts] = turns as [Measured[], Measured[], Measured[]]
  const floorOfGet = 'bare Fastify handler, the same prepared SQL'
  const unit = 'requests/s'
  return [
    compare({
      measure: 'get mailbox, requests/s',
      floor: floorOfGet,
      unit,
      sides: [
        ['service', gets.map(perSecond)],
        ['floor', bares.map(perSecond)],
      ],
      goal: { atLeast: 0.8 },
    }),
    compare({
      measure: 'get mailbox, p99, floor to service',
      floor: floorOfGet,
      unit: 'ms',
      sides: [
        ['floor', bares.map(({ p99 }) => p99)],
        ['service', gets.map(({ p99 }) => p99)],
      ],
      goal: { atLeast: 0.8 },
      note: 'More is better; autocannon tells whole milliseconds.',
    }),
    compare({
      measure: 'PUT of an equal mailbox, requests/s',
      floor: 'get mailbox of the service',
      unit,
      sides: [
        ['PUT', puts.map(perSecond)],
        ['GET', gets.map(perSecond)],
      ],
      goal: { atLeast: 0.7 },
    }),
  ]
}

async function creates(
  { installation, service, floor, seconds, rounds }: Sides,
  text: string,
  values: unknown[],
  known: string,
): Promise<Result[]> {
  let next = 1
  const fresh = () => {
    next += 1
    return `linked${next}`
  }
  let keys = 0
  const freshKey = () => {
    keys += 1
    return `key${keys}`
  }
  const common = { method: 'POST' as const, connections, seconds: seconds / 2, expect: 201 }
  const create = () =>
    load({
      ...common,
      url: service.url,
      path: '/v1/mailboxes',
      token: installation.token,
      body: () => ({ address: `${fresh()}@${domain}`, create_account: false }),
    })
  const bare = () =>
    load({ ...common, url: floor.url, path: '/create', body: () => ({ address: `${fresh()}@${domain}` }) })
  const key = () => load({ ...common, url: floor.url, path: '/key', body: () => ({ key: freshKey() }) })
  const script = await writeScript(installation, text, values, known)
  const sql = async (): Promise<Measured> => {
    const first = next + 1
    next += Math.ceil(seconds / 2) * 16_000
    return { perSecond: await pgbench(installation, script, seconds / 2, first), p50: 0, p99: 0, count: 0 }
  }
  await create()
  const turns = await inTurns(rounds, [create, bare, key, sql])
  const [service$, bare$, key$, sql$] = turns.map((side) => side.map(perSecond)) as [
    number[],
    number[],
    number[],
    number[],
  ]
  const against = (letter: string, floor: string, other: number[], atLeast: number) =>
    compare({
      measure: `create mailbox on an existing account, requests/s (${letter})`,
      floor,
      unit: 'a second',
      sides: [
        ['service', service$],
        ['floor', other],
      ],
      goal: { atLeast },
    })
  return [
    against('a', 'bare Fastify handler, the same prepared SQL', bare$, 0.8),
    against('b', 'bare Fastify handler, one row of one text key', key$, 0.45),
    against('c', `pgbench -M prepared, ${connections} clients, the same SQL`, sql$, 0.45),
  ]
}

/** Each client of pgbench counts for itself, in steps of all of them; what is the same for all stands in the statement. */
async function writeScript(
  { folder }: Installation,
  text: string,
  values: unknown[],
  known: string,
): Promise<string> {
  const file = join(folder, 'create.sql')
  const statement = text.replace(/\$(\d+)/g, (_, n) => literal(values[Number(n) - 1], known))
  await writeFile(
    file,
    `\\set n :n + ${connections}\n\\set i :n + :client_id\n${statement.replaceAll('\n', ' ')};\n`,
  )
  return file
}

function literal(value: unknown, known: string): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return `'{${value.join(',')}}'`
  const text = `'${String(value).replaceAll("'", "''")}'`
  return text.includes(known) ? `(${text.replace(known, "linked' || :i || '")})` : text
}

async function pgbench(
  installation: Installation,
  script: string,
  seconds: number,
  first: number,
): Promise<number> {
  const args = [
    '-n',
    '-M',
    'prepared',
    '-c',
    String(connections),
    '-j',
    '1',
    '-T',
    String(Math.ceil(seconds)),
  ]
  const child = spawn(pgbenchProgram, [
    ...args,
    '-D',
    `n=${first - connections}`,
    '-f',
    script,
    installation.serviceUrl,
  ])
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  await once(child, 'exit')
  const tps = /^tps = ([\d.]+)/m.exec(output)?.[1]
  if (!tps) throw new Error(output)
  return Number(tps)
}

const pgbenchProgram = process.env.PGBENCH ?? '/usr/lib/postgresql/15/bin/pgbench'
