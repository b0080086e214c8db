import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { loadOrCreateKeys } from '../../src/keys.ts'
import { cannotServeMail, startMailServers } from './mail-servers.ts'
import { needsMail, withoutMail } from './pages.ts'
import { temporaryFolder } from './process.ts'
import { startService } from './service.ts'

/**
 * A service with an empty database for the commands of one page, with its job worker, and with mail servers where a
 * part of the page is for them; that part is left out where they cannot be started.
 */
export async function servePage(t: TestContext, text: string) {
  const dataDir = await temporaryFolder(t)
  const keys = await loadOrCreateKeys(join(dataDir, 'token-key.json'))
  const jobs = { dataDir, doveadmUrl: undefined, doveadmKeyFile: undefined }
  const service = await startService({ keys, jobs })
  const withMail = needsMail(text) && !cannotServeMail
  if (needsMail(text) && cannotServeMail) t.diagnostic(`without the part about mail: ${cannotServeMail}`)
  return {
    markdown: withMail ? text : withoutMail(text),
    env: {
      MAILWRIGHT_URL: service.url,
      MAILWRIGHT_DATA_DIR: dataDir,
      TOKEN: await service.token(),
      TMPDIR: dataDir,
      KEYS: dataDir,
      ...(withMail && mailEnvironment(await startMailServers(service))),
    },
  }
}

function mailEnvironment({ ports }: Awaited<ReturnType<typeof startMailServers>>): Record<string, string> {
  return {
    SUBMISSION_PORT: String(ports.submission),
    POP3S_PORT: String(ports.pop3s),
    IMAPS_PORT: String(ports.imaps),
    IMAP_PORT: String(ports.imap),
  }
}
