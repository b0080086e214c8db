import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { generate } from '../../clients/generate.ts'
import { lacks, tools } from '../../clients/tools.ts'
import { temporaryFolder } from '../support/process.ts'
import { run, walk } from '../support/sdk-journey.ts'
import { startService } from '../support/service.ts'

const service = await startService()

test('the generated Go client compiles and does what a caller needs', {
  skip: lacks('go', 'oapi-codegen'),
}, async (t) => {
  const cwd = join(await temporaryFolder(t), 'go')
  await generate('go', cwd)
  await mkdir(join(cwd, 'journey'))
  await copyFile(new URL('journeys/main.go', import.meta.url), join(cwd, 'journey/main.go'))
  const env = { GOFLAGS: '-buildvcs=false', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' }
  await run({ file: tools.go, args: ['vet', './...'], cwd, env })
  await run({ file: tools.go, args: ['build', '-o', 'walk', './journey'], cwd, env })
  await walk(service, { file: join(cwd, 'walk'), args: [], cwd })
})
