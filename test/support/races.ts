import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, createClient, outcome, type Reply } from './client.ts'
import { type Service, startReplica, startService } from './service.ts'

/** Two instances of the service on one database, and what it takes to let requests meet there. */
export async function startRaces() {
  const service = await startService()
  const here = await service.as()
  const there = createClient(await startReplica(service), here.token)
  await here.patch('/v1/server', { scram_iterations: 4096 }) // the races are the matter, not the hashing
  /** Sends `count` requests at once, half of them to each instance. */
  const race = (count: number, send: (client: Client, i: number) => Promise<Reply>): Promise<Reply[]> =>
    Promise.all(Array.from({ length: count }, (_, i) => send(i % 2 === 0 ? here : there, i)))
  return { service, here, there, race, ...objects(service, here), ...locks(service) }
}

function objects({ admin }: Service, here: Client) {
  let serial = 0
  const newName = () => `race${++serial}`

  const newDomain = async (values: object = {}): Promise<string> => {
    const name = `race${++serial}.example`
    assert.equal((await here.post('/v1/domains', { name, ...values })).status, 201)
    return name
  }

  /** Accounts to link: without a hash to wait for, the statements meet as closely as they can. */
  const newAccounts = async (count: number): Promise<string[]> => {
    const names = Array.from({ length: count }, newName)
    await admin.query(`insert into app.accounts (name, authentication) select unnest($1::text[]), 'local'`, [
      names,
    ])
    return names
  }

  const newMailbox = async (domain: string): Promise<string> => {
    const [name] = await newAccounts(1)
    assert.equal(outcome(await link(here, `${name}@${domain}`)), '201')
    return `${name}@${domain}`
  }

  const count = async (table: string, where: string, ...values: unknown[]): Promise<number> => {
    const { rows } = await admin.query(`select count(*)::int as n from app.${table} where ${where}`, values)
    return rows[0].n
  }
  return { newName, newDomain, newAccounts, newMailbox, count }
}

export function link(client: Client, address: string): Promise<Reply> {
  return client.post('/v1/mailboxes', { address, create_account: false })
}

function locks({ admin }: Service) {
  /** Keeps a row locked while `send` sends what needs it; returns the answers that come when it is free. */
  const holding = async (
    table: string,
    name: string,
    send: () => Promise<Promise<Reply>[]>,
  ): Promise<Reply[]> => {
    const blocker = await admin.connect()
    await blocker.query('begin')
    await blocker.query(`select from app.${table} where name = $1 for update`, [name])
    const sent = send()
    await sent.catch(() => {}).finally(() => blocker.query('rollback'))
    blocker.release()
    return Promise.all(await sent)
  }

  /** Until so many statements of the service wait for a lock. */
  const untilWaiting = (statements: number): Promise<void> =>
    until(async () => {
      const { rows } = await admin.query(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      return rows.length >= statements
    })
  return { holding, untilWaiting }
}

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'what the test waits for does not come')
    await sleep(5)
  }
}

export function tally(replies: Reply[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const reply of replies) counts[outcome(reply)] = (counts[outcome(reply)] ?? 0) + 1
  return counts
}

/** Nothing but these outcomes; returns how often each came. */
export function assertOutcomes(replies: Reply[], ...allowed: string[]): Record<string, number> {
  const counts = tally(replies)
  const others = Object.keys(counts).filter((one) => !allowed.includes(one))
  assert.deepEqual(others, [], JSON.stringify(counts))
  return counts
}
