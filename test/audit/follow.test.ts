import assert from 'node:assert/strict'
import { appendFile, chmod, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sql } from 'kysely'
import pino from 'pino'
import { type Follower, followEvents } from '../../src/audit/follow.ts'
import { openAuditLogFile } from '../../src/audit/log-file.ts'
import { recordEvent } from '../../src/audit/record.ts'
import { readJsonLines } from '../support/json-lines.ts'
import { temporaryFolder } from '../support/process.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const api = await service.as()
const silent = pino({ level: 'silent' })

/** It ends with the test, also where that fails. */
async function follow(t: TestContext, path: string): Promise<Follower> {
  const follower = followEvents(service.db, await openAuditLogFile(path), silent)
  t.after(() => follower.stop())
  return follower
}

interface Line {
  id: string
  object: string
}

const linesOf = (path: string) => readJsonLines<Line>(path)

/** All events as the API shows them, the oldest first. */
async function listed(): Promise<Line[]> {
  const items: Line[] = []
  for (let cursor = ''; ; ) {
    const { body } = await api.get(`/v1/audit-events?limit=1000${cursor}`)
    items.push(...body.items)
    if (body.next === null) return items.reverse()
    cursor = `&cursor=${body.next}`
  }
}

const newPath = async (t: TestContext) => join(await temporaryFolder(t), 'audit.jsonl')

async function until(ready: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await ready())) {
    assert.ok(Date.now() < end, 'it takes too long')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const change = (i: number) => api.patch('/v1/server', { default_quota_bytes: i })
let serial = 1

test('the file says what the list says, and only its owner reads it', async (t) => {
  const path = await newPath(t)
  await api.post('/v1/domains', { name: 'example.jp' })
  const follower = await follow(t, path)
  for (let i = 0; i < 5; i++) await change(serial++)
  await api.post('/v1/domains', { name: 'example.jp' }) // refused
  await follower.stop()
  assert.deepEqual(await linesOf(path), await listed())
  for (const file of [path, `${path}.position`]) assert.equal((await stat(file)).mode & 0o777, 0o600, file)
})

test('thousands of events that were there before come in their order, once', async (t) => {
  const path = await newPath(t)
  await service.admin.query(`
    insert into app.audit_events (name, action, kind, object)
    select 'n' || i, 'account.create', 'account', 'n' || i from generate_series(1, 2500) as i`)
  await (await follow(t, path)).stop()
  assert.deepEqual(await linesOf(path), await listed())
})

test('what is not committed has no line, and has one as soon as it is', async (t) => {
  const path = await newPath(t)
  await (await follow(t, path)).stop()
  const follower = await follow(t, path)
  const has = async (object: string) => (await linesOf(path)).some((line) => line.object === object)
  const write = (object: string, hold: () => Promise<void>) =>
    service.db.transaction().execute(async (tx) => {
      await recordEvent(tx, { action: 'account.create', object, domain: null, after: {} })
      await sql`select pg_sleep(2.5)`.execute(tx) // over two looks, and the margin of the horizon
      await hold()
    })
  await write('slow', async () => {
    await api.post('/v1/accounts', { name: 'quick', generate_password: true })
    await until(() => has('quick')) // which does not wait for the slow one
    assert.equal(await has('slow'), false)
  })
  await until(() => has('slow'))
  await assert.rejects(
    write('undone', async () => {
      throw new Error('undone')
    }),
    /undone/,
  )
  await follower.stop()
  const lines = await linesOf(path)
  assert.ok(!lines.some(({ object }) => object === 'undone'))
  assert.equal(new Set(lines.map(({ id }) => id)).size, lines.length, 'none twice')
  assert.equal(lines.length, (await listed()).length)
})

test('goes on where it ended, however soon, and what was not followed meanwhile is not lost', async (t) => {
  const path = await newPath(t)
  for (let i = 0; i < 4; i++) {
    const follower = await follow(t, path)
    await change(serial++)
    await follower.stop()
    await change(serial++)
  }
  await (await follow(t, path)).stop()
  assert.deepEqual(await linesOf(path), await listed())
})

test('after a crash it has every event, at the worst one of them twice, and no torn line', async (t) => {
  const path = await newPath(t)
  await (await follow(t, path)).stop()
  const position = await readFile(`${path}.position`)
  await change(serial++)
  await (await follow(t, path)).stop()
  // as if the machine had died before the position was kept, in the middle of one more line
  await writeFile(`${path}.position`, position)
  await appendFile(path, '{"id":"torn')
  await change(serial++)
  await (await follow(t, path)).stop()
  const [whole, torn] = Object.values(
    Object.groupBy((await readFile(path, 'utf8')).trimEnd().split('\n'), (line) =>
      line === '{"id":"torn' ? 'torn' : 'whole',
    ),
  )
  assert.equal(torn?.length, 1)
  const ids = whole!.map((line) => JSON.parse(line).id)
  const expected = (await listed()).map(({ id }) => id)
  assert.equal(ids.length, expected.length + 1)
  assert.deepEqual(new Set(ids), new Set(expected))
})

test('a file that is moved away is followed by a new one without a gap', async (t) => {
  const path = await newPath(t)
  const follower = await follow(t, path)
  await change(serial++)
  await until(async () => (await linesOf(path)).length === (await listed()).length)
  await rename(path, `${path}.1`)
  await change(serial++)
  follower.reopen()
  await change(serial++)
  await follower.stop()
  assert.ok((await linesOf(path)).length > 0)
  assert.deepEqual([...(await linesOf(`${path}.1`)), ...(await linesOf(path))], await listed())
})

test('while the file cannot be written the service goes on, and the events wait', async (t) => {
  const path = await newPath(t)
  const log: string[] = []
  const file = await openAuditLogFile(path)
  let broken = true
  const append = (lines: string) => (broken ? Promise.reject(new Error('no space left')) : file.append(lines))
  const logger = pino({ level: 'error' }, { write: (line: string) => void log.push(line) })
  const follower = followEvents(service.db, { ...file, append }, logger)
  t.after(() => follower.stop())
  await until(async () => log.length > 0)
  assert.equal((await change(serial++)).status, 200)
  assert.match(log[0]!, /no space left/)
  broken = false
  await follower.stop()
  assert.deepEqual(await linesOf(path), await listed())
})

test('a path that cannot be used is refused in a sentence', async (t) => {
  const path = await newPath(t)
  await mkdir(path)
  await assert.rejects(openAuditLogFile(path), {
    message: /^AUDIT_LOG_FILE: .*audit\.jsonl cannot be used: EISDIR/,
  })
  await assert.rejects(openAuditLogFile(join(path, 'no', 'such')), { message: /cannot be used: ENOENT/ })
  await rm(path, { recursive: true })
  await writeFile(`${path}.position`, 'nonsense')
  await assert.rejects(openAuditLogFile(path), {
    message: /audit\.jsonl\.position cannot be used: it does not hold a position/,
  })
  await chmod(`${path}.position`, 0o600)
})
