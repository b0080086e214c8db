import type { Columns } from '../exports/csv.ts'
import type { Alias } from './schemas.ts'

/** New ones come last: programs may count on the order. */
export const aliasCsvColumns = {
  address: (alias) => alias.address,
  targets: (alias) => alias.targets,
  send_as: (alias) => alias.send_as,
  broken_targets: (alias) => alias.broken_targets,
  holds_name: (alias) => alias.holds_name,
  created_at: (alias) => alias.created_at,
  updated_at: (alias) => alias.updated_at,
} as const satisfies Columns<Alias>
