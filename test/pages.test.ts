import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { followSteps, readSteps } from './support/pages.ts'
import { startProcess, temporaryFolder } from './support/process.ts'

/** With how many promises of output each of them has at least. */
const pages: Record<string, number> = {
  'aliases.md': 8,
  'audit.md': 6,
  'client-configuration.md': 18,
  'leavers.md': 14,
  'lifecycle.md': 26,
  'onboarding.md': 16,
  'tokens.md': 20,
}

/** What a page takes over from the tour of the README. */
const tour = `URL=$MAILWRIGHT_URL
TOKEN=$(npm run -s token)
api() { curl -sS -w '\\n%{http_code}\\n' -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' "$@"; }`

for (const [page, least] of Object.entries(pages)) {
  test(`every command of docs/${page} does what the page says`, async (t) => {
    const steps = readSteps(await readFile(new URL(`../docs/${page}`, import.meta.url), 'utf8'))
    const promises = steps.flatMap(({ promised }) => promised).length
    assert.ok(promises >= least, `${promises} promises were found`)
    const service = await startProcess(t)
    const env = {
      MAILWRIGHT_URL: service.url,
      MAILWRIGHT_DATA_DIR: service.dataDir,
      KEYS: await temporaryFolder(t),
    }
    await followSteps(steps, env, tour)
  })
}
