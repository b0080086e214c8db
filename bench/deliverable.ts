/**
 * How soon a mailbox is usable: creates mailboxes at a steady rate over HTTP and, in the same instant as each 201,
 * sends to it, logs in both ways over POP3 and IMAP, and fetches. It ends at the first thing that does not succeed at
 * the first try. Needs root and the packages that `npm run mail` needs; starts a system of its own.
 *   npm run bench:deliverable -- [mailboxes] [mailboxes a second]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Promptness, proveDeliverable } from '../test/support/deliverable.ts'
import { percentile } from './support/figures.ts'
import { startSystem } from './support/system.ts'

const count = Number(process.argv[2] ?? 200)
const perSecond = Number(process.argv[3] ?? 2)
const password = 'correct horse battery'

const labels: Record<keyof Promptness, string> = {
  recipientMs: '201 until accepted at RCPT',
  acceptedMs: '201 until the message is accepted',
  loginsMs: '201 until four logins are accepted (both ways, POP3 and IMAP)',
  fetchedMs: '201 until fetched by POP3',
}

const system = await startSystem()
try {
  await system.call('POST', '/v1/domains', { name: 'example.jp' }, 201)
  const began = performance.now()
  const times = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      await sleep(i * (1000 / perSecond))
      const address = `user${i}@example.jp`
      await system.call('POST', '/v1/mailboxes', { address, password }, 201)
      return proveDeliverable(system.servers, { address, password })
    }),
  )
  const rate = (count / (performance.now() - began)) * 1000
  console.log(`${count} mailboxes, ${rate.toFixed(1)} a second, all usable at the first try; milliseconds:`)
  for (const [name, label] of Object.entries(labels)) {
    const values = times.map((one) => one[name as keyof Promptness])
    const figures = [0.5, 0.95, 0.99].map(
      (share) => `p${share * 100} ${percentile(values, share).toFixed(0).padStart(4)}`,
    )
    console.log(`  ${label.padEnd(62)} ${figures.join('  ')}`)
  }
} finally {
  await system.stop()
}
