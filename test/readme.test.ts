import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { Environment } from '../src/config.ts'
import { cannotServeMail, runMail, stopMail } from './support/mail-servers.ts'
import { followSteps, needsMail, readSteps, type Step, withoutMail } from './support/pages.ts'
import { startProcess } from './support/process.ts'

const file = new URL('../README.md', import.meta.url)
const readme = await readFile(file, 'utf8')

function readTour({ withMail }: { withMail: boolean }): Step[] {
  const tour = readme.slice(readme.indexOf('## A tour'), readme.indexOf('## Configuration'))
  return readSteps(withMail ? tour : withoutMail(tour))
}

test('every command of the tour does what the README says', async (t) => {
  if (cannotServeMail) t.diagnostic(`without the part about mail: ${cannotServeMail}`)
  const steps = readTour({ withMail: !cannotServeMail })
  assert.ok(steps.length >= 8 && needsMail(readme), 'the tour was found')
  const service = await startProcess(t)
  await using stop = new AsyncDisposableStack() // before the folder goes
  const ports = cannotServeMail ? undefined : await serveMail(stop, service.dataDir)
  await followSteps(steps, {
    ...ports,
    MAILWRIGHT_URL: service.url,
    MAILWRIGHT_DATA_DIR: service.dataDir,
  })
})

/** The mail servers on the database of the running service, as npm run mail starts them. */
async function serveMail(stop: AsyncDisposableStack, dataDir: string) {
  const servers = await runMail(dataDir, {})
  stop.defer(() => stopMail(servers))
  return { SUBMISSION_PORT: String(servers.ports.submission), POP3S_PORT: String(servers.ports.pop3s) }
}

test('the table of variables is the one that the configuration is read by', async () => {
  const [before = '', , after = ''] = readme.split(
    /(?<=<!-- environment -->\n)(.*?)(?=<!-- \/environment -->)/s,
  )
  const wanted = `${before}${renderTable()}${after}`
  if (process.env.UPDATE_README) await writeFile(file, wanted)
  else assert.equal(readme, wanted, 'write it again with UPDATE_README=1 npm test')
})

function renderTable(): string {
  const rows = Object.entries(Environment.properties).map(([name, schema]) => {
    const { description = '', default: value } = schema as { description?: string; default?: string }
    return `| \`${name}\` | ${value === undefined ? '' : `\`${value}\``} | ${description} |\n`
  })
  return `\n| variable | default | meaning |\n|---|---|---|\n${rows.join('')}\n`
}
