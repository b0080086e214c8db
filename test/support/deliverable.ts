import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MailServers } from './mail-servers.ts'
import { type Credentials, fetchImap, fetchPop3, loginImap, loginPop3, sendAt } from './mail-sessions.ts'

export interface Promptness {
  /** Milliseconds from the 201 until RCPT was answered with 250. */
  recipientMs: number
  /** Until the message was accepted. */
  acceptedMs: number
  /** Until the last of four logins, begun in the same instant, was accepted. */
  loginsMs: number
  /** Until the message was fetched by POP3. */
  fetchedMs: number
}

const patienceMs = 20_000
const pauseMs = 10

/**
 * Called in the instant of the 201: sends to the mailbox, logs in both ways over POP3 and IMAP, and fetches. Whatever
 * does not succeed at the first try is an error.
 */
export async function proveDeliverable(
  servers: MailServers,
  { address, password }: { address: string; password: string },
): Promise<Promptness> {
  const began = performance.now()
  const elapsed = () => performance.now() - began
  const clearText: Credentials = { mechanism: 'PLAIN', user: address, password }
  const secure: Credentials = { mechanism: 'SCRAM-SHA-256', user: address.split('@')[0]!, password }
  const times: Promptness = { recipientMs: 0, acceptedMs: 0, loginsMs: 0, fetchedMs: 0 }
  const subject = `for ${address}`

  const send = async () => {
    const noteRecipient = () => {
      times.recipientMs = elapsed()
    }
    assert.match(await sendAt(servers, { to: address, subject }, noteRecipient), /^250 /)
    times.acceptedMs = elapsed()
    await untilFetched(servers, secure, subject)
    times.fetchedMs = elapsed()
  }
  const login = async () => {
    const attempts = [clearText, secure].flatMap((one) => [loginPop3(servers, one), loginImap(servers, one)])
    for (const session of await Promise.all(attempts)) session.close()
    times.loginsMs = elapsed()
  }
  await Promise.all([send(), login()])
  await fetchOtherwise(servers, { clearText, secure, subject })
  return times
}

async function untilFetched(servers: MailServers, credentials: Credentials, subject: string): Promise<void> {
  for (const until = Date.now() + patienceMs; ; await sleep(pauseMs)) {
    const session = await loginPop3(servers, credentials)
    const [message] = await fetchPop3(session)
    session.close()
    if (message?.includes(`Subject: ${subject}`)) return
    assert.ok(Date.now() < until, `nothing came for ${credentials.user}`)
  }
}

/** With the other login over POP3, and with both over IMAP. */
async function fetchOtherwise(
  servers: MailServers,
  { clearText, secure, subject }: { clearText: Credentials; secure: Credentials; subject: string },
): Promise<void> {
  const pop3 = await loginPop3(servers, clearText)
  assert.match((await fetchPop3(pop3))[0] ?? '', new RegExp(`^Subject: ${subject}$`, 'm'))
  pop3.close()
  for (const one of [clearText, secure]) {
    const imap = await loginImap(servers, one)
    assert.match(await fetchImap(imap), new RegExp(`^Subject: ${subject}$`, 'm'))
    imap.close()
  }
}
