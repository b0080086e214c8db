import { randomUUID } from 'node:crypto'
import { recordEvent } from '../audit/record.ts'
import type { Db, Tx } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import type { Writer } from '../idempotency/once.ts'
import type { InstallationKeys } from '../keys.ts'
import type { Subject } from '../subject.ts'
import { parseFreeText } from '../text.ts'
import { parseExpiry, parseRights, type Rights, unknownDomain } from './rights.ts'
import type { TokenCreate } from './schemas.ts'
import { findDomains, insertToken, onlyDomain, type TokenRow, toToken } from './store.ts'

/** A row, and the token that names it, which is shown once. */
export interface MadeToken {
  row: TokenRow
  token: string
}

export interface NewToken {
  maker: Subject
  body: TokenCreate
  label: string
  rights: Rights
}

/** Everything that needs no look-up and does not change with the time. */
export function parseNewToken(maker: Subject, body: TokenCreate): NewToken {
  const rights = parseRights(maker, body)
  return { maker, body, label: parseFreeText(body.label, '/label'), rights }
}

export async function createToken<Made>(
  { db, keys }: { db: Db; keys: InstallationKeys },
  { maker, body, label, rights }: NewToken,
  writer: Writer<MadeToken, Made>,
): Promise<Made> {
  const now = new Date()
  const expiresAt = parseExpiry(maker, body.expires_at, now)
  if (body.domains) await requireDomains(db, rights.domains)
  const id = randomUUID()
  const token = await keys.signStored({ id, createdAt: now, expiresAt })
  const domains = [...new Set<string>(rights.domains)] as Rights['domains'] // some may be spelled in two ways
  const values = {
    id,
    label,
    ...rights,
    domains,
    ...origin(maker),
    created_at: now,
    expires_at: expiresAt,
  }
  const made = await writer.transaction(async (tx) => {
    const row = await insertToken(tx, values)
    await recordMade(tx, row)
    return { row, token }
  })
  return made!
}

/** What it may do; a token of several domains is told only to those who may see all of them. */
async function recordMade(tx: Tx, row: TokenRow): Promise<void> {
  const { id, label, scopes, domains, allowed_ips, password_delivery, limits, expires_at, parent } =
    toToken(row)
  const after = { label, scopes, domains, allowed_ips, password_delivery, limits, expires_at, parent }
  await recordEvent(tx, { action: 'token.create', object: id, domain: onlyDomain(domains), after })
}

function origin({ id, token }: Subject) {
  if (!token) return { parent: null, ancestors: [], created_by: id }
  return { parent: token.id, ancestors: [...token.ancestors, token.id], created_by: id }
}

/** A token for a domain that is not there would be one for whoever gets it later. */
async function requireDomains(db: Db, domains: Rights['domains']): Promise<void> {
  if (domains[0] === '*') return
  const names = domains as DomainName[]
  const found = await findDomains(db, names)
  const missing = names.findIndex((name) => !found.has(name))
  if (missing >= 0) throw unknownDomain(missing)
}
