import type { TestContext } from 'node:test'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded.ts'
import { temporaryFolder } from './process.ts'

/** A Postgres beside the service, as an operator has it, and the URLs of its owner and of the service. */
export async function startExternalPostgres(t: TestContext) {
  let postgres: EmbeddedPostgres | undefined
  t.after(() => postgres?.stop()) // before the folder goes, which is registered later
  const dataDir = await temporaryFolder(t)
  const start = () => startEmbeddedPostgres({ dataDir, log: () => {}, settings: { fsync: 'off' } })
  postgres = await start()
  const service = new URL(postgres.url)
  service.username = 'provisioning'
  service.password = 'only for this test'
  return {
    ownerUrl: postgres.url,
    serviceUrl: String(service),
    stop: () => postgres?.stop(),
    start: async () => {
      postgres = await start()
    },
  }
}
