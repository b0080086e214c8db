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

/** Calls back whenever the list is another one. A database that is away is asked again. */
export async function watchMechanisms(
  readUrl: string,
  known: string,
  { changed, signal, say }: { changed: (list: string) => Promise<void>; signal: AbortSignal; say: Say },
): Promise<void> {
  let last = known
  while (!signal.aborted) {
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    const now = signal.aborted ? last : await offeredMechanisms(readUrl).catch(() => last)
    if (now === last) continue
    last = now
    say(`Dovecot now offers ${now}.`)
    await changed(now)
  }
}
