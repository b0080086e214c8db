import { problemAt } from './problems.ts'

/** PostgreSQL refuses years and offsets that RFC 3339 allows, and Date knows no leap second. */
export function parseMoment(text: string, pointer: string): Date {
  const time = Date.parse(text.toUpperCase().replace(/:60(?=[.Z+-])/, ':59'))
  if (Number.isNaN(time)) throw problemAt('invalid-request', pointer, 'is not a moment')
  return new Date(Math.max(time, 0)) // nothing here is older than 1970
}
