/** Reads RFC 4180 by the letter: fails where a line is not what its grammar says. Each line as an object. */
export function parseCsv(text: string): Record<string, string>[] {
  const [header = [], ...lines] = readLines(text)
  return lines.map((cells, i) => {
    if (cells.length !== header.length) throw new Error(`line ${i + 2} has ${cells.length} fields`)
    return Object.fromEntries(header.map((name, column) => [name, cells[column] ?? '']))
  })
}

function readLines(text: string): string[][] {
  const lines: string[][] = []
  let line: string[] = []
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y
  while (field.lastIndex < text.length) {
    const at = field.lastIndex
    const found = field.exec(text)
    if (!found) throw new Error(`no field of RFC 4180 at ${JSON.stringify(text.slice(at, at + 80))}`)
    line.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '')
    if (found[3] === ',') continue
    lines.push(line)
    line = []
  }
  if (line.length > 0) throw new Error('the last line does not end')
  return lines
}
