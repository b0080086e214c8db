import type { Db, Tx } from '../database.ts'
import type { Writer } from '../idempotency/once.ts'
import { assertNoLoopsThrough, prepareAliasOf } from './alias-domains.ts'
import type { DomainName } from './name.ts'
import { type DomainRow, type DomainValues, insertDomain, refuseDomain } from './store.ts'

export interface DomainCreation<Made> {
  name: DomainName
  values: DomainValues
  writer: Writer<DomainRow, Made>
}

export async function createDomain<Made>(db: Db, { name, values, writer }: DomainCreation<Made>) {
  const { alias_of } = values
  const created = alias_of
    ? await writer.transaction((tx) => insertAliasDomain(tx, name, { ...values, alias_of }))
    : await writer.statement((to) => insertDomain(to, name, values))
  return created ?? refuseDomain(db, name)
}

/** undefined where the name is held, as in `insertDomain`. */
async function insertAliasDomain(
  tx: Tx,
  name: DomainName,
  values: DomainValues & { alias_of: DomainName },
): Promise<DomainRow | undefined> {
  await prepareAliasOf(tx, name, values.alias_of)
  const row = await insertDomain(tx, name, values)
  if (row) await assertNoLoopsThrough(tx, name)
  return row
}
