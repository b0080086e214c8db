import type { ImportRow } from './row-schemas.ts'

const columns = [
  ...['line', 'operation', 'address', 'status', 'clear_text_username', 'secure_password_username'],
  ...['problem', 'detail'],
]

export const csvHeader = toLine(columns)

export function toCsvLine(row: ImportRow): string {
  const { line, operation, address, status, clear_text_username, secure_password_username, problem } = row
  const detail =
    problem?.detail ?? problem?.errors?.map((error) => `${error.pointer} ${error.detail}`).join('; ')
  return toLine([
    ...[line, operation, address, status, clear_text_username, secure_password_username],
    ...[problem?.type.replace('/problems/', ''), detail],
  ])
}

function toLine(cells: unknown[]): string {
  return `${cells.map((cell) => toCell(String(cell ?? ''))).join(',')}\r\n`
}

/** RFC 4180 §2; and no spreadsheet computes what somebody wrote (OWASP, CSV Injection). */
function toCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
