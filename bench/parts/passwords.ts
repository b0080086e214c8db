import { availableParallelism } from 'node:os'
import { deriveVerifiers } from '../../src/accounts/verifiers.ts'
import { createWorkQueue } from '../../src/work-queue.ts'
import { compare, type Part } from '../part.ts'
import { call } from '../support/api.ts'
import { rate } from '../support/figures.ts'
import { openInstallation } from '../support/installation.ts'
import { inTurns } from '../support/turns.ts'

const parallel = 16
const password = 'correct horse battery'

/** Creates with a new account and a password, against nothing but deriving its verifiers. */
export const passwords: Part = {
  name: 'passwords',
  async run({ folder, scale, rounds }) {
    const installation = await openInstallation(folder)
    try {
      const { url } = await installation.startService()
      const caller = { url, token: installation.token }
      await call(caller, 'POST', '/v1/domains', { name: 'example.jp' })
      let next = 0
      const create = async (secret: object = { password }) => {
        next += 1
        await call(caller, 'POST', '/v1/mailboxes', { address: `made${next}@example.jp`, ...secret })
      }
      const queue = createWorkQueue()
      const { scram_iterations } = await call(caller, 'GET', '/v1/server')
      const options = { mechanisms: ['SCRAM-SHA-256'] as const, scramIterations: Number(scram_iterations) }
      const derive = () => queue.run(async () => void (await deriveVerifiers(password, options)))
      const ms = 4000 * scale
      // until V8 has compiled what is hot, which so few creates a second take minutes for: those without a password first
      await rate(() => create({ no_password: true }), { parallel, ms })
      await rate(create, { parallel, ms: ms / 4 })
      const [creates, derivations] = (await inTurns(rounds, [
        () => rate(create, { parallel, ms }),
        () => rate(derive, { parallel, ms }),
      ])) as [number[], number[]]
      return [
        compare({
          measure: 'create mailbox with a new account and password, a second',
          floor: `the same derivations (Argon2id, SCRAM-SHA-256) alone, ${availableParallelism()} at once`,
          unit: 'a second',
          sides: [
            ['creates', creates],
            ['derivations', derivations],
          ],
          goal: { atLeast: 0.9 },
          note: 'The process that calls, and Postgres, use the same processors as the derivations.',
        }),
      ]
    } finally {
      await installation.close()
    }
  },
}
