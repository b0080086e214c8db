import { setTimeout as sleep } from 'node:timers/promises'
import { withClient } from '../roles.ts'
import type { Say } from './child.ts'

const always = ['plain', 'login', 'scram-sha-256']
const pauseMs = 1_000

/** What Dovecot offers: CRAM-MD5 only while the server or a domain lists it. */
export function offeredMechanisms(readUrl: string): Promise<string> {
  return withClient(readUrl, async (client) => {
    const { rows } = await client.query<{ offered: boolean }>('select mail.offers_cram_md5() as offered')
    return [...always, ...(rows[0]?.offered ? ['cram-md5'] : [])].join(' ')
  })
}

export interface Watch {
  changed(list: string): Promise<void>
  /** The database answers again after it was away. */
  recovered(): void
  signal: AbortSignal
  say: Say
}

/** Asks the database over and over, and calls back when its answer is another one, or comes again. */
export async function watchMechanisms(readUrl: string, known: string, watch: Watch): Promise<void> {
  const { signal, say } = watch
  let [last, away] = [known, false]
  while (!signal.aborted) {
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    const now = await offeredMechanisms(readUrl).catch(() => undefined)
    if (now !== undefined && away) {
      say('The database answers again.')
      watch.recovered()
    } else if (now === undefined && !away) say('The database does not answer; mail waits.')
    away = now === undefined
    if (now === undefined || now === last) continue
    try {
      await watch.changed(now)
      last = now
      say(`Dovecot now offers ${now}.`)
    } catch (error) {
      // a full disk, say: the servers go on with what they offer, and the next round tries again
      say(`Dovecot could not be told to offer ${now}: ${(error as Error).message}`)
    }
  }
}
