type Cell = string | number | boolean | Date | readonly string[] | null

/** The header of each column, and what stands in it; in this order. */
export type Columns<Item> = Readonly<Record<string, (item: Item) => Cell>>

/** RFC 4180 §3: the first line names the columns. */
export const csvType = 'text/csv; charset=utf-8; header=present'

export function csvHeader(columns: Columns<never>): string {
  return toLine(Object.keys(columns))
}

export function csvLine<Item>(columns: Columns<Item>, item: Item): string {
  return toLine(Object.values(columns).map((read) => toText(read(item))))
}

function toLine(cells: (string | null)[]): string {
  return `${cells.map(toField).join(',')}\r\n`
}

/** Lists are parted by spaces: nothing that stands in one has any. */
function toText(cell: Cell): string | null {
  if (cell === null || typeof cell === 'string') return cell
  if (cell instanceof Date) return cell.toISOString()
  return typeof cell === 'object' ? cell.join(' ') : String(cell)
}

/**
 * RFC 4180 §2. Null is an empty field, the empty text a quoted one, as PostgreSQL writes them. What a spreadsheet would
 * take for a formula stays as it is: every defence against that changes the value (OWASP, CSV Injection).
 */
function toField(text: string | null): string {
  if (text === null) return ''
  return text === '' || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
