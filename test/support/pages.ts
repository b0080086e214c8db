import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

export const root = new URL('../../', import.meta.url)

/** What stands between two fences, and the word behind the first. */
export interface Block {
  language: string
  text: string
}

/**
 * Commands that the tests run (`sh`), and what the block right after them promises of the output: without a language
 * pieces of it, a line each, in their order; `json` members of the last object in it.
 */
export interface Step {
  commands: string
  promised: string[]
  members?: unknown
}

/** The names of all pages in docs. */
export async function listPages(): Promise<string[]> {
  const names = await readdir(new URL('docs/', root), { recursive: true })
  return names.filter((name) => name.endsWith('.md')).sort()
}

/** A page by its path from the top of the repository. */
export function readPage(path: string): Promise<string> {
  return readFile(new URL(path, root), 'utf8')
}

export function readBlocks(markdown: string): Block[] {
  const found = markdown.matchAll(/^( *)```(\w*)\n(.*?)^\1```$/gms)
  return [...found].map(([, indent = '', language = '', text = '']) => ({
    language,
    text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }))
}

export function readSteps(markdown: string): Step[] {
  const blocks = readBlocks(markdown)
  return blocks.flatMap(({ language, text }, i) => {
    if (language !== 'sh') return []
    const next = blocks[i + 1]
    const promised = next?.language === '' ? next.text.split('\n').filter(Boolean) : []
    return [
      { commands: text, promised, ...(next?.language === 'json' && { members: JSON.parse(next.text) }) },
    ]
  })
}

/** What pages take over from getting-started.md. */
export const prelude = `URL=$MAILWRIGHT_URL
api() { curl -sS -w '\\n%{http_code}\\n' -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' "$@"; }`

export function needsMail(markdown: string): boolean {
  return markdown.includes('<!-- mail servers -->')
}

export function withoutMail(markdown: string): string {
  return withoutPart(markdown, 'mail servers')
}

/** Without what needs something that is not everywhere. */
export function withoutPart(markdown: string, name: string): string {
  return markdown.replaceAll(new RegExp(`<!-- ${name} -->.*?<!-- /${name} -->`, 'gs'), '')
}

const mark = '=== next block'

/** One shell runs it all, as a reader would; a mark separates what each block printed. */
export async function followSteps(steps: Step[], env: NodeJS.ProcessEnv, before = ''): Promise<void> {
  const script = [before, ...steps.map(({ commands }) => `${commands}\necho '${mark}'`)].join('\n')
  const options = {
    cwd: root,
    env: { ...process.env, ...env },
    timeout: 240_000,
    maxBuffer: 64 * 1024 * 1024,
  }
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], options).catch(
    (error: { stdout?: string; stderr?: string; message: string }) => {
      throw new Error(`${error.message.slice(0, 200)}\n${error.stdout?.slice(-2000)}\n${error.stderr}`)
    },
  )
  const outputs = stdout.split(mark)
  for (const [i, step] of steps.entries()) assertPromised(step, outputs[i] ?? '')
}

function assertPromised({ commands, promised, members }: Step, output: string): void {
  let rest = output
  for (const piece of promised) {
    assert.ok(
      rest.includes(piece),
      `after\n${commands}\nthis was promised: ${piece}\nand this was left:\n${rest}`,
    )
    rest = rest.slice(rest.indexOf(piece) + piece.length)
  }
  if (members !== undefined) assertMembers(members, lastObject(output), commands)
}

function lastObject(output: string): unknown {
  const line = output.split('\n').findLast((each) => each.startsWith('{'))
  return JSON.parse(line ?? 'null')
}

/** What is promised is there; `…` stands for any text. */
function assertMembers(promised: unknown, found: unknown, where: string): void {
  if (promised === '…') assert.equal(typeof found, 'string', where)
  else if (typeof promised === 'object' && promised !== null) assertObject(promised, found, where)
  else assert.equal(found, promised, where)
}

function assertObject(promised: object, found: unknown, where: string): void {
  assert.ok(typeof found === 'object' && found !== null, `${where}: no object`)
  if (Array.isArray(promised)) assert.equal((found as unknown[]).length, promised.length, where)
  for (const [name, value] of Object.entries(promised))
    assertMembers(value, (found as Record<string, unknown>)[name], `${where} ${name}`)
}
