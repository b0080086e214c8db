import { chown, readFile, writeFile } from 'node:fs/promises'

/** A list is a line for each. */
export type Values = Readonly<Record<string, string | number | readonly string[]>>

/** Puts the values in the places of their {{NAMES}}. */
export function fill(template: string, values: Values): string {
  return template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`The template has {{${name}}}, which nobody sets.`)
    const lines = [value].flat().map(String)
    // A line of its own would be another setting.
    if (lines.some((line) => /[\r\n]/.test(line))) {
      throw new Error(`The value of {{${name}}} holds a line break.`)
    }
    return lines.join('\n')
  })
}

export interface Target {
  file: string
  /** Who may read it besides root; passwords are in most. */
  gid: number
}

export async function writeFilled(template: URL, values: Values, { file, gid }: Target): Promise<void> {
  const content = fill(await readFile(template, 'utf8'), values)
  await writeFile(file, content, { mode: 0o640 })
  await chown(file, 0, gid)
}
