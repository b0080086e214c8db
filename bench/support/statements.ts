import type { CompiledQuery } from 'kysely'
import { buildApp } from '../../src/app.ts'
import { openDatabase } from '../../src/database.ts'
import { createWorkQueue } from '../../src/work-queue.ts'
import type { Installation } from './installation.ts'

export interface Statement {
  text: string
  values: unknown[]
}

/** The SQL that the service itself runs for a request, the last statement of it. */
export async function statementOf(
  { serviceUrl, keys, token }: Installation,
  request: { method: 'GET' | 'POST'; url: string; payload?: object },
): Promise<Statement> {
  const seen: CompiledQuery[] = []
  const db = openDatabase(serviceUrl, { poolSize: 2, onStatement: (statement) => void seen.push(statement) })
  const auth = { keys, domainsClaim: 'domains' }
  const app = await buildApp({ db, derivations: createWorkQueue(), auth })
  const { payload, ...rest } = request
  const answer = await app.inject({
    ...rest,
    headers: { authorization: `Bearer ${token}` },
    ...(payload && { payload }),
  })
  await app.close()
  await db.destroy()
  if (answer.statusCode >= 300) throw new Error(`${request.url}: ${answer.statusCode} ${answer.body}`)
  const last = seen.filter(({ sql }) => /app\.mailboxes/.test(sql)).at(-1)
  if (!last) throw new Error('no statement was seen')
  return { text: last.sql, values: [...last.parameters] }
}
