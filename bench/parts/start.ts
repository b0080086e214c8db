import { setTimeout as sleep } from 'node:timers/promises'
import type { Part } from '../part.ts'
import { openInstallation, residentMegabytes } from '../support/installation.ts'

/** How long a start on an existing database takes, and what memory the service has when nobody calls it. */
export const start: Part = {
  name: 'start',
  async run({ folder, scale, rounds }) {
    const installation = await openInstallation(folder)
    try {
      const seconds: number[] = []
      const megabytes: number[] = []
      for (let round = 0; round < rounds; round++) {
        const service = await installation.startService({ NODE_COMPILE_CACHE: `${folder}/compiled` })
        seconds.push(service.readyMs / 1000)
        await sleep(3000 * scale)
        megabytes.push(await residentMegabytes(service))
        await service.stop()
      }
      // the first one compiles, as the first start of an installation does
      return [
        {
          measure: 'start on an existing database until /readyz',
          floor: '',
          figures: [{ of: 'the first, which compiles', unit: 's', rounds: seconds.slice(0, 1) }],
          ratios: seconds.slice(1),
          unit: ' s',
          goal: { atMost: 1 },
        },
        {
          measure: 'resident memory, idle',
          floor: '',
          figures: [{ of: 'after the first start', unit: 'MB', rounds: megabytes.slice(0, 1) }],
          ratios: megabytes.slice(1),
          unit: ' MB',
          goal: { atMost: 150 },
        },
      ]
    } finally {
      await installation.close()
    }
  },
}
