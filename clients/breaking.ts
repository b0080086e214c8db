import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { documentFile } from './generate.ts'
import { tools } from './tools.ts'

/** The document of the last release: a copy of openapi.json that each release makes. */
const releasedFile = fileURLToPath(new URL('../openapi/released.json', import.meta.url))

/**
 * More is an error here than oasdiff itself says: bodies are strict, so a member that is gone is refused, and the names
 * of operations and schemas are those of the generated clients. A new value in an answer is worth a warning: a generated
 * Python client does not know what to do with it.
 */
const levelsFile = fileURLToPath(new URL('breaking-levels.txt', import.meta.url))

export interface Comparison {
  breaks: boolean
  report: string
}

/** What oasdiff finds in the second document that clients of the first would stumble over. */
export async function compare(before: string, after: string): Promise<Comparison> {
  const options = ['--fail-on', 'ERR', '--severity-levels', levelsFile, '--color', 'never']
  const child = spawn(tools.oasdiff, ['breaking', before, after, ...options])
  const printed = Promise.all([text(child.stdout), text(child.stderr)])
  const [code] = await once(child, 'close')
  const report = (await printed).join('')
  if (code !== 0 && code !== 1) throw new Error(`oasdiff ends with ${code}: ${report}`)
  return { breaks: code === 1, report }
}

if (import.meta.main) {
  if (existsSync(releasedFile)) {
    const { breaks, report } = await compare(releasedFile, documentFile)
    console.log(report)
    process.exitCode = breaks ? 1 : 0
  } else console.log('Nothing has been released yet, so there is nothing to break.')
}
