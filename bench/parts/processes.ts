import { compare, type Part } from '../part.ts'
import { call } from '../support/api.ts'
import { rate } from '../support/figures.ts'
import { openInstallation } from '../support/installation.ts'
import { load } from '../support/load.ts'
import { inTurns } from '../support/turns.ts'

/** What a second process on the same Postgres gains: reads, which one thread of JavaScript does, and password creates. */
export const processes: Part = {
  name: 'processes',
  async run({ folder, scale, rounds }) {
    const installation = await openInstallation(folder)
    try {
      const { token } = installation
      const [one, two] = await Promise.all([installation.startService(), installation.startService()])
      const callers = [one, two].map(({ url }) => ({ url, token }))
      await call(callers[0]!, 'POST', '/v1/domains', { name: 'example.jp' })
      await call(callers[0]!, 'POST', '/v1/mailboxes', {
        address: 'reader@example.jp',
        generate_password: true,
      })
      const seconds = Math.max(1, 3 * scale)
      const path = '/v1/mailboxes/reader@example.jp'
      const get = async (urls: string[], times = 1) => {
        const connections = 16 / urls.length
        const sides = await Promise.all(
          urls.map((url) => load({ url, path, token, connections, seconds: times * seconds, expect: 200 })),
        )
        return sides.reduce((sum, { perSecond }) => sum + perSecond, 0)
      }
      let next = 0
      const create = (through: typeof callers) => {
        const once = async () => {
          next += 1
          await call(through[next % through.length]!, 'POST', '/v1/mailboxes', {
            address: `made${next}@example.jp`,
            generate_password: true,
          })
        }
        return rate(once, { parallel: 16, ms: seconds * 1000 })
      }
      for (const { url } of [one, two]) await get([url], 2) // until V8 has compiled what is hot, in each of them
      const [get2, get1] = (await inTurns(rounds, [() => get([one.url, two.url]), () => get([one.url])])) as [
        number[],
        number[],
      ]
      const [create2, create1] = (await inTurns(rounds, [
        () => create(callers),
        () => create(callers.slice(0, 1)),
      ])) as [number[], number[]]
      const result = (what: string, both: number[], alone: number[]) =>
        compare({
          measure: `${what} through two processes, a second`,
          floor: 'through one',
          unit: 'a second',
          sides: [
            ['two processes', both],
            ['one process', alone],
          ],
          goal: { atLeast: 1 },
          note: 'Postgres and the load generator use the same processors: a machine with more gains more.',
        })
      return [result('GET of a mailbox', get2, get1), result('creates with a password', create2, create1)]
    } finally {
      await installation.close()
    }
  },
}
