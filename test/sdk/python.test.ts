import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { generate } from '../../clients/generate.ts'
import { lacks, tools } from '../../clients/tools.ts'
import { temporaryFolder } from '../support/process.ts'
import { run, walk } from '../support/sdk-journey.ts'
import { startService } from '../support/service.ts'

const service = await startService()

const importAll = `
import importlib, pkgutil, mailwright_client
for module in pkgutil.walk_packages(mailwright_client.__path__, "mailwright_client."):
    importlib.import_module(module.name)
`

test('the generated Python client compiles and does what a caller needs', {
  skip: lacks('python', 'openapi-python-client'),
}, async (t) => {
  const cwd = join(await temporaryFolder(t), 'python')
  await generate('python', cwd)
  const python = { file: tools.python, cwd, env: { PYTHONPATH: cwd } }
  await run({ ...python, args: ['-W', 'error', '-m', 'compileall', '-q', 'mailwright_client'] })
  await run({ ...python, args: ['-c', importAll] })
  await walk(service, { ...python, args: [fileURLToPath(new URL('journeys/journey.py', import.meta.url))] })
})
