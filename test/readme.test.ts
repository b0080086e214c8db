import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Environment } from '../src/config.ts'
import { cannotServeMail, runMail, stopMail } from './support/mail-servers.ts'
import { startProcess } from './support/process.ts'

const file = new URL('../README.md', import.meta.url)
const readme = await readFile(file, 'utf8')
const run = promisify(execFile)

interface Step {
  commands: string
  expected: string[]
}

const mailPart = /<!-- mail servers -->.*?<!-- \/mail servers -->/s

/** The blocks of the tour: commands, and the pieces of output that the block after them promises. */
function readTour({ withMail }: { withMail: boolean }): Step[] {
  const whole = readme.slice(readme.indexOf('## A tour'), readme.indexOf('## Configuration'))
  const tour = withMail ? whole : whole.replace(mailPart, '')
  const blocks = [...tour.matchAll(/^```(sh)?\n(.*?)^```$/gms)].map(([, kind, text]) => ({
    kind,
    text: text ?? '',
  }))
  return blocks.flatMap(({ kind, text }, i) => {
    const next = blocks[i + 1]
    const expected =
      next?.kind === undefined ? (next?.text ?? '').split('\n').filter((line) => line !== '') : []
    return kind === 'sh' ? [{ commands: text, expected }] : []
  })
}

test('every command of the tour does what the README says', async (t) => {
  if (cannotServeMail) t.diagnostic(`without the part about mail: ${cannotServeMail}`)
  const steps = readTour({ withMail: !cannotServeMail })
  assert.ok(steps.length >= 8 && mailPart.test(readme), 'the tour was found')
  const service = await startProcess(t)
  await using stop = new AsyncDisposableStack() // before the folder goes
  const ports = cannotServeMail ? undefined : await serveMail(stop, service.dataDir)
  // one shell runs it all, as a reader would; a mark separates what each block printed
  const mark = '=== next block'
  const script = steps.map(({ commands }) => `${commands}\necho '${mark}'\n`).join('')
  const { stdout } = await run('bash', ['-e', '-c', script], {
    env: { ...process.env, ...ports, MAILWRIGHT_URL: service.url, MAILWRIGHT_DATA_DIR: service.dataDir },
  })
  const outputs = stdout.split(mark)
  for (const [i, { commands, expected }] of steps.entries()) {
    let rest = outputs[i] ?? ''
    for (const piece of expected) {
      assert.ok(
        rest.includes(piece),
        `after\n${commands}\nthis was promised: ${piece}\nand this was left:\n${rest}`,
      )
      rest = rest.slice(rest.indexOf(piece) + piece.length)
    }
  }
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
