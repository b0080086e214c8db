import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config.ts'

/** Dovecot's administration interface (doveadm HTTP API). */
export interface Doveadm {
  url: string
  key: string
  /** The folder of all mail, on Dovecot's machine; undefined: nobody has said. */
  mailDir: string | undefined
}

/** Where to look for it. */
export type DoveadmConfig = Pick<Config, 'dataDir'> &
  Partial<Pick<Config, 'doveadmUrl' | 'doveadmKeyFile' | 'doveadmMailDir'>>

/** What the interface answers to one command. */
export type Answer = { ok: true; result: unknown } | { ok: false; exitCode: number }

const timeoutMs = 10_000
const moreMs = 200 // for each command besides: Dovecot 2.3 looks through all sessions for each kick

/** sysexits(3) EX_USAGE: the interface has no such command, or not with these parameters, and did nothing. */
export const wrongUsage = 64

/**
 * Where it is: DOVEADM_URL and its companions, else what `npm run mail` left in the data folder. Asked anew each
 * time, since the mail servers may be started later. undefined = there are none to tell.
 */
export async function findDoveadm(config: DoveadmConfig): Promise<Doveadm | undefined> {
  const { doveadmUrl, doveadmKeyFile, doveadmMailDir, dataDir } = config
  if (doveadmUrl !== undefined && doveadmKeyFile !== undefined) {
    const key = (await readFile(doveadmKeyFile, 'utf8')).trim()
    return { url: doveadmUrl, key, mailDir: doveadmMailDir }
  }
  const [url, key, mailDir] = await Promise.all(
    ['doveadm-url', 'doveadm-key', 'doveadm-mail-dir'].map((name) => readNote(join(dataDir, name))),
  )
  return url && key ? { url, key, mailDir } : undefined
}

async function readNote(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  return text?.trim()
}

/** Runs one command. Throws when the interface is away or refuses the key, so that a job is tried again. */
export async function doveadm(place: Doveadm, command: string, parameters: object): Promise<Answer> {
  const [answer] = await doveadmEach(place, command, [parameters])
  return answer!
}

/** The same command for each of these, one after another, in one request; the answers in their order. */
export async function doveadmEach(
  { url, key }: Doveadm,
  command: string,
  each: readonly object[],
): Promise<Answer[]> {
  const response = await fetch(new URL('/doveadm/v1', url), {
    method: 'POST',
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs + moreMs * (each.length - 1)),
    headers: {
      authorization: `X-Dovecot-API ${Buffer.from(key).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(each.map((parameters) => [command, parameters, 'mailwright'])),
  })
  if (!response.ok) throw new Error(`Dovecot's administration interface answers ${response.status}`)
  const body: unknown = await response.json()
  return each.map((_, i) => parseAnswer(Array.isArray(body) ? body[i] : undefined, command))
}

function parseAnswer(answer: unknown, command: string): Answer {
  const [kind, content] = (Array.isArray(answer) ? answer : []) as [
    string?,
    { exitCode?: number; type?: string }?,
  ]
  if (kind === 'doveadmResponse') return { ok: true, result: content }
  if (kind === 'error' && content?.type === 'invalidRequest') return { ok: false, exitCode: wrongUsage }
  // a command that is refused has an exit code too, which is 0
  if (kind === 'error' && content?.type === 'exitCode' && content.exitCode !== undefined)
    return { ok: false, exitCode: content.exitCode }
  throw new Error(`doveadm ${command}: ${content?.type ?? 'an answer that is none'}`)
}
