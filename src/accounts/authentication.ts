import type { Authentication } from '../database.ts'
import { problemAt } from '../problems.ts'

/** Refuses the kind of authentication that this version cannot serve. */
export function assertAvailable(
  authentication: Authentication | null | undefined,
  pointer = '/authentication',
): void {
  if (authentication !== 'active_directory') return
  throw problemAt('authentication-unavailable', pointer, 'active_directory is not available in this version.')
}
