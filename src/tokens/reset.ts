import { sql } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import type { Tx } from '../database.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { Fuse } from './limits.ts'
import { getToken, onlyDomain, type TokenRow } from './store.ts'

export interface Reset {
  id: string
  subject: Subject
  precondition: Precondition
}

/** A job that has run wild must not be able to go on by itself, nor through a token that it makes for that. */
export function assertMayReset({ id, subject: { token } }: Pick<Reset, 'id' | 'subject'>): void {
  if (token?.id !== id.toLowerCase() && !token?.ancestors.includes(id.toLowerCase())) return
  throw problem('insufficient-scope', {
    detail: 'No token resets itself, nor one that it was made with. Somebody with another token has to.',
  })
}

/** The day begins anew for the token. Where nothing was used, nothing changes. */
export async function resetToken(tx: Tx, { id, subject, precondition }: Reset): Promise<TokenRow> {
  const token = await getToken(tx, id, subject.domains)
  requireVersion(precondition, token.version)
  const { rows } = await sql<{ kind: Fuse; count: number; blown: boolean }>`
    with f as (
      select f.token, f.kind, f.count, f.blown_at is not null as blown from app.token_fuses as f
      where f.token = ${id} and (f.count > 0 or f.blown_at is not null)
      order by f.kind
      for update
    ), reset as (
      update app.token_fuses as r set count = 0, blown_at = null from f where r.token = f.token and r.kind = f.kind
    )
    select f.kind, f.count, f.blown from f`.execute(tx)
  if (rows.length === 0) return token
  const state = (of: (row: (typeof rows)[number]) => object) =>
    Object.fromEntries(rows.map((row) => [row.kind, of(row)]))
  await recordEvent(tx, {
    action: 'token.reset',
    object: token.id,
    domain: onlyDomain(token.domains),
    before: state(({ count, blown }) => ({ count, blown })),
    after: state(() => ({ count: 0, blown: false })),
  })
  return { ...token, blown_fuses: [] }
}
