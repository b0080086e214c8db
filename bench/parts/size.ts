import pg from 'pg'
import { domainOf, fillBeside, fillMailboxes, type Many, nameOf } from '../../test/support/many.ts'
import { type Context, compare, type Part, type Result } from '../part.ts'
import { percentile } from '../support/figures.ts'
import { type Installation, openInstallation } from '../support/installation.ts'
import { load } from '../support/load.ts'
import { inTurns } from '../support/turns.ts'

const small: Many = { mailboxes: 1000, big: 'big.example' }

/** Whether a million mailboxes cost more than a thousand: pages of the list, and what the mail servers ask. */
export const size: Part = {
  name: 'size',
  async run(context) {
    const installation = await openInstallation(context.folder)
    try {
      const large: Many = {
        mailboxes: Math.ceil((1_000_000 * context.scale) / 1000) * 1000,
        big: 'big.example',
      }
      await fillBoth(installation, large)
      return [
        ...(await lists(context, installation, large)),
        ...(await functions(context, installation, large)),
      ]
    } finally {
      await installation.close()
    }
  },
}

const smallName = 'bench_small'

/** The large one in the database of the service, the small one beside it, in a copy made before. */
async function fillBoth({ admin, adminUrl }: Installation, large: Many): Promise<void> {
  const { rows } = await admin.query('select current_database() as name')
  await admin.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
  )
  const maintenance = new pg.Client(databaseAt(adminUrl, 'template1'))
  await admin.end()
  await maintenance.connect()
  await maintenance.query(`create database ${smallName} template ${rows[0].name}`)
  await maintenance.end()
  for (const [url, many] of [
    [adminUrl, large],
    [databaseAt(adminUrl, smallName), small],
  ] as const) {
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    await fillMailboxes(pool, many)
    await fillBeside(pool, many)
    await pool.query(
      'vacuum app.mailboxes, app.accounts, app.addresses, app.aliases, mail.usage, mail.last_login',
    )
    await pool.end()
  }
}

function databaseAt(url: string, name: string): string {
  const other = new URL(url)
  other.pathname = `/${name}`
  return String(other)
}

async function lists(
  { scale, rounds }: Context,
  installation: Installation,
  { mailboxes }: Many,
): Promise<Result[]> {
  const { url } = await installation.startService()
  const pool = new pg.Pool({ connectionString: installation.adminUrl, max: 1 })
  const { rows } = await pool.query('select name from app.mailboxes order by name desc offset 50 limit 1')
  await pool.end()
  const cursor = Buffer.from(JSON.stringify({ after: rows[0].name })).toString('base64url')
  const page = (query: string) => () =>
    load({
      url,
      path: `/v1/mailboxes?limit=50${query}`,
      token: installation.token,
      connections: 1,
      seconds: Math.max(1, 3 * scale),
      expect: 200,
    })
  const turns = await inTurns(rounds, [page(`&cursor=${cursor}`), page('')])
  // autocannon tells whole milliseconds; one request at a time, so the rate tells the time of each
  const [last, first] = turns.map((side) => side.map(({ perSecond }) => 1000 / perSecond)) as [
    number[],
    number[],
  ]
  return [
    compare({
      measure: `list, last page of ${mailboxes} mailboxes, time of a request`,
      floor: 'first page',
      unit: 'ms',
      sides: [
        ['last page', last],
        ['first page', first],
      ],
      goal: { atMost: 1.2 },
    }),
  ]
}

const asked: [name: string, args: (many: Many, i: number) => string[]][] = [
  ['passdb', (many, i) => [`${nameOf(i)}@${domainOf(many, i)}`, 'PLAIN', 'pop3']],
  ['mailbox', (many, i) => [nameOf(i), domainOf(many, i)]],
  ['alias', (many, i) => [`a${Math.ceil(i / 10) * 10}`, many.big]],
]

async function functions(
  { scale, rounds }: Context,
  { adminUrl }: Installation,
  large: Many,
): Promise<Result[]> {
  const results: Result[] = []
  const connect = async (url: string) => {
    const client = new pg.Client(url)
    await client.connect()
    return client
  }
  const [million, thousand] = await Promise.all([connect(adminUrl), connect(databaseAt(adminUrl, smallName))])
  try {
    for (const [name, args] of asked) {
      const count = Math.ceil(3000 * scale)
      const side = (client: pg.Client, many: Many) => () =>
        median(client, name, count, () => args(many, anyOf(many)))
      await side(million, large)()
      await side(thousand, small)()
      const [at, floor] = (await inTurns(rounds, [side(million, large), side(thousand, small)])) as [
        number[],
        number[],
      ]
      results.push(
        compare({
          measure: `mail.${name} at ${large.mailboxes} mailboxes, p50`,
          floor: 'the same at 1,000',
          unit: 'ms',
          sides: [
            [`at ${large.mailboxes}`, at],
            ['at 1,000', floor],
          ],
          goal: { atMost: 1.3 },
        }),
      )
    }
  } finally {
    await Promise.all([million.end(), thousand.end()])
  }
  return results
}

const anyOf = ({ mailboxes }: Many) => 1 + Math.floor(Math.random() * (mailboxes - 20))

async function median(client: pg.Client, name: string, count: number, args: () => string[]): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const values = args()
    const text = `select * from mail.${name}(${values.map((_, n) => `$${n + 1}`)})`
    const began = performance.now()
    await client.query({ name, text, values })
    times.push(performance.now() - began)
  }
  return percentile(times, 0.5)
}
