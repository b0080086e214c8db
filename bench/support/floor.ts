/**
 * What the service is measured against: a Fastify that runs the same prepared statements, and nothing else. FLOOR is the
 * JSON of `Floor`.
 */
import Fastify from 'fastify'
import pg from 'pg'
import { planner } from '../../src/database.ts'
import type { Statement } from './statements.ts'

export interface Floor {
  url: string
  get: Statement
  /** Its values hold `name` where those of another mailbox have another name. */
  create: Statement & { name: string }
}

const { url, get, create } = JSON.parse(process.env.FLOOR ?? '') as Floor
const int8 = 20
pg.types.setTypeParser(int8, Number)
const pool = new pg.Pool({ connectionString: url, max: 20, options: planner })
const app = Fastify()

app.get('/readyz', async () => ({}))
app.get('/get', async () => (await pool.query({ name: 'get', ...get })).rows[0])
app.post<{ Body: { address: string } }>('/create', async ({ body }, reply) => {
  const name = body.address.slice(0, body.address.indexOf('@'))
  const values = create.values.map((value) => renamed(value, name))
  const { rows } = await pool.query({ name: 'create', text: create.text, values })
  return reply.code(201).send(rows[0])
})
app.post<{ Body: { key: string } }>('/key', async ({ body }, reply) => {
  await pool.query({ name: 'key', text: 'insert into bench_keys (key) values ($1)', values: [body.key] })
  return reply.code(201).send({})
})
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
process.on('SIGTERM', () => void app.close().then(() => pool.end()))

function renamed(value: unknown, name: string): unknown {
  return typeof value === 'string' ? value.replace(create.name, name) : value
}
