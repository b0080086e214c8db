import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { compare, type Part } from '../part.ts'
import { call } from '../support/api.ts'
import { percentile, repeat } from '../support/figures.ts'
import { sendImport } from '../support/imports.ts'
import { openInstallation } from '../support/installation.ts'

const readers = 4
const underWay = 64 // passwords
const pauseMs = 5 // between two reads of a reader, so that reading alone does not fill the processors
const rowsAtOnce = 20_000

/**
 * Whether reading stays fast while more passwords are to be hashed than the processors can hash, and an import runs.
 * Rounds with nothing else to do and with both take turns.
 */
export const saturation: Part = {
  name: 'saturation',
  async run({ folder, scale, rounds }) {
    const installation = await openInstallation(folder)
    try {
      const { url } = await installation.startService()
      const caller = { url, token: installation.token }
      for (const name of ['example.jp', 'imported.example'])
        await call(caller, 'POST', '/v1/domains', { name })
      await call(caller, 'POST', '/v1/mailboxes', { address: 'reader@example.jp', generate_password: true })
      const readFor = (ms: number) => {
        const end = performance.now() + ms
        const read = async () => {
          await call(caller, 'GET', '/v1/mailboxes/reader@example.jp')
        }
        return repeat(read, { parallel: readers, until: () => performance.now() >= end, pauseMs })
      }
      const waiting = async () => {
        const { text } = await call(caller, 'GET', '/metrics')
        return Number(/^mailwright_passwords_waiting (\d+)$/m.exec(String(text))?.[1])
      }
      let next = 0
      const create = async () => {
        next += 1
        await call(caller, 'POST', '/v1/mailboxes', {
          address: `made${next}@example.jp`,
          generate_password: true,
        })
      }
      const saturated = async (ms: number) => {
        let over = false
        const creating = repeat(create, { parallel: underWay, until: () => over })
        await sendImport(caller, { domain: 'imported.example', rows: Math.ceil(rowsAtOnce * scale) })
        while ((await waiting()) < underWay / 2) await sleep(10)
        const times = await readFor(ms)
        over = true
        await creating
        return times
      }
      const ms = 3000 * scale
      await readFor(ms)
      const idle: number[][] = []
      const busy: number[][] = []
      for (let round = 0; round < rounds; round++) {
        idle.push(await readFor(ms))
        busy.push(await saturated(ms))
      }
      const p99 = (times: number[]) => percentile(times, 0.99)
      return [
        compare({
          measure: 'GET p99 while imports and password creates saturate the machine',
          floor: 'GET p99 with nothing else to do',
          unit: 'ms',
          sides: [
            [`saturated, ${underWay} passwords and an import under way`, busy.map(p99)],
            ['idle', idle.map(p99)],
          ],
          goal: { atMost: 5 },
          note: `${readers} readers with pauses of ${pauseMs} ms, on the same ${availableParallelism()} processors.`,
        }),
      ]
    } finally {
      await installation.close()
    }
  },
}
