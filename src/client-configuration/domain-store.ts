import { sql } from 'kysely'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import type { ServerFacts } from '../mailboxes/credentials.ts'
import { serverColumns } from '../mailboxes/view.ts'
import { problem } from '../problems.ts'

/**
 * What anybody may know: the servers of a domain whose people log in with their address in it. Not of an alias domain,
 * whose logins are those of another one that nobody is told. A lock, and mail that does not come here yet, change nothing.
 */
export async function getServersOfDomain(db: Db, name: DomainName): Promise<ServerFacts> {
  const { rows } = await sql<ServerFacts>`
    select ${serverColumns} from app.domains as d cross join app.settings as s
    where d.name = ${name} and d.state = 'active' and d.alias_of is null`.execute(db)
  if (rows[0]) return rows[0]
  throw problem('configuration-not-found')
}
