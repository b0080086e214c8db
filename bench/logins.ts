/**
 * How many logins a second Dovecot's authentication takes, for each Argon2id set that OWASP calls equivalent and for
 * SCRAM-SHA-256, with few and with many mailboxes. It asks at the socket that Postfix uses, since TLS and the start of
 * a POP3 or IMAP process cost the same with every verifier. The sets take turns, so that what else the machine does
 * hits all of them; what is compared is compared within one run.
 *   npm run bench:logins -- [mailboxes, parted by commas] [rounds] [seconds for each measurement]
 */
import { argon2, randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { scramSha256Verifier } from '../src/accounts/verifiers.ts'
import { type AuthClient, openAuth } from '../test/support/dovecot-auth.ts'
import { rate, spread } from './support/figures.ts'
import { startSystem } from './support/system.ts'

// OWASP Password Storage Cheat Sheet, Argon2id: memory in KiB and passes, one lane
const sets = [
  [47104, 1],
  [19456, 2],
  [12288, 3],
  [9216, 4],
  [7168, 5],
] as const
type ArgonSet = (typeof sets)[number]

const sizes = (process.argv[2] ?? '1000,100000').split(',').map(Number)
const rounds = Number(process.argv[3] ?? 7)
const ms = Number(process.argv[4] ?? 1.5) * 1000
const parallel = 8
const password = 'correct horse battery'
const domain = 'example.jp'
const cores = availableParallelism()

const hash = promisify(argon2)

function derive([memory, passes]: ArgonSet, nonce = randomBytes(16)): Promise<Buffer> {
  return hash('argon2id', { message: password, nonce, memory, passes, parallelism: 1, tagLength: 32 })
}

async function phcString(set: ArgonSet): Promise<string> {
  const nonce = randomBytes(16)
  const text = (octets: Buffer) => octets.toString('base64').replace(/=+$/, '')
  return `$argon2id$v=19$m=${set[0]},t=${set[1]},p=1$${text(nonce)}$${text(await derive(set, nonce))}`
}

/** user0, user1, … by SQL, all with the one password; their Argon2id sets take turns. */
async function fill(admin: pg.Client, size: number): Promise<void> {
  const verifiers = await Promise.all(sets.map(phcString))
  const scram = await scramSha256Verifier(password, 100_000)
  const range = `generate_series((select count(*) from app.mailboxes where name like 'user%'), ${size - 1}) as i`
  await admin.query('begin')
  await admin.query(
    `create temporary table made on commit drop as select 'user' || i as name, i % ${sets.length} as set from ${range}`,
  )
  await admin.query(
    `insert into app.accounts (name, authentication, mechanisms) select name, 'local', '{SCRAM-SHA-256}' from made`,
  )
  await admin.query(
    `insert into app.addresses (name, domain, kind, holds_name) select name, '${domain}', 'mailbox', true from made`,
  )
  await admin.query(`insert into app.mailboxes (name, domain) select name, '${domain}' from made`)
  await admin.query(
    `insert into app.verifiers select name, 'ARGON2ID', ($1::text[])[set + 1] from made
     union all select name, 'SCRAM-SHA-256', $2 from made`,
    [verifiers, scram],
  )
  await admin.query('commit')
  await admin.query('vacuum analyze')
}

const clients: AuthClient[] = []

/** One login of a mailbox drawn by chance, on the connections in turn. */
function loginOnce(size: number, set: number | undefined): () => Promise<void> {
  let turn = 0
  return async () => {
    turn += 1
    const drawn = Math.floor(Math.random() * (size / sets.length)) * sets.length + (set ?? turn % sets.length)
    const [mechanism, user] =
      set === undefined
        ? (['SCRAM-SHA-256', `user${drawn}`] as const)
        : (['PLAIN', `user${drawn}@${domain}`] as const)
    const accepted = await clients[turn % clients.length]!.login(mechanism, user, password)
    if (!accepted) throw new Error(`${mechanism} of ${user} was refused`)
  }
}

interface Series {
  name: string
  /** What it is compared with, round by round. */
  reference: string | undefined
  measure(): Promise<number>
}

function seriesFor(size: number): Series[] {
  const perSet = (what: string, measureOne: (i: number) => Promise<number>) =>
    sets.map((set, i) => ({
      name: `${what} ${set.join('/')}`,
      reference: `${what} ${sets[0].join('/')}`,
      measure: () => measureOne(i),
    }))
  const perNumber = [1, parallel].map((many) => ({
    name: `SCRAM-SHA-256 login, ${many} at once`,
    reference: undefined,
    measure: () => rate(loginOnce(size, undefined), { parallel: many, ms }),
  }))
  return [
    ...perSet(`clear-text login, ${parallel} at once,`, (i) => rate(loginOnce(size, i), { parallel, ms })),
    ...perSet(`new verifier by Node, ${cores} at once,`, (i) =>
      rate(async () => void (await derive(sets[i]!)), { parallel: cores, ms }),
    ),
    ...perNumber,
  ]
}

async function measure(size: number): Promise<void> {
  const series = seriesFor(size)
  const measured = series.map((): number[] => [])
  for (let round = 0; round < rounds; round += 1) {
    for (const [i, one] of series.entries()) measured[i]!.push(await one.measure())
  }
  console.log(
    `\n${size} mailboxes: how many a second, median (least–most) of ${rounds} rounds; times the first set`,
  )
  for (const [i, { name, reference }] of series.entries()) {
    const compared = measured[series.findIndex((one) => one.name === reference)]
    const ratios = compared && measured[i]!.map((value, round) => value / compared[round]!)
    console.log(`  ${name.padEnd(42)} ${spread(measured[i]!).padEnd(28)} ${ratios ? spread(ratios, 2) : ''}`)
  }
}

const system = await startSystem()
try {
  await system.call('POST', '/v1/domains', { name: domain }, 201)
  for (const name of ['real1', 'real2', 'real3'])
    await system.call('POST', '/v1/mailboxes', { address: `${name}@${domain}`, password }, 201)
  const socket = join(system.servers.dataDir, 'mail', 'sockets', 'auth')
  for (let i = 0; i < parallel; i += 1) clients.push(await openAuth(socket))
  for (const name of ['real1', 'real2', 'real3']) {
    const logins = [
      clients[0]!.login('PLAIN', `${name}@${domain}`, password),
      clients[0]!.login('SCRAM-SHA-256', name, password),
    ]
    if ((await Promise.all(logins)).includes(false)) throw new Error(`${name} was refused`)
  }
  const admin = new pg.Client(system.adminUrl)
  await admin.connect()
  for (const size of sizes) {
    await fill(admin, size)
    await measure(size)
  }
  await admin.end()
} finally {
  for (const client of clients) client.close()
  await system.stop()
}
