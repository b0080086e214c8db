import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { copyIntoPackage, generate, packaged } from '../../clients/generate.ts'
import { lacks } from '../../clients/tools.ts'
import { temporaryFolder } from '../support/process.ts'
import { run, walk } from '../support/sdk-journey.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const root = fileURLToPath(new URL('../..', import.meta.url))
const tsc = join(root, 'node_modules/typescript/bin/tsc')
const typesOfNode = { types: ['node'], typeRoots: [join(root, 'node_modules/@types')] }
const strict = { module: 'nodenext', target: 'esnext', strict: true, noUncheckedIndexedAccess: true }

async function compile(cwd: string, compilerOptions: object): Promise<void> {
  await writeFile(join(cwd, 'package.json'), JSON.stringify({ type: 'module' }))
  await writeFile(join(cwd, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
  await run({ file: process.execPath, args: [tsc, '-p', '.'], cwd })
}

const withGenerator = { skip: lacks('openapi-ts') }

test('the generated TypeScript client compiles', withGenerator, async (t) => {
  const folder = join(await temporaryFolder(t), 'typescript')
  await generate('typescript', folder)
  const options = { noEmit: true, allowImportingTsExtensions: true, erasableSyntaxOnly: true }
  await compile(folder, { ...strict, ...options, lib: ['esnext', 'dom', 'dom.iterable'], types: [] })
})

async function readFolder(folder: string): Promise<Record<string, string>> {
  const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.ts')).sort()
  const texts = files.map(async (file) => [file, await readFile(join(folder, file), 'utf8')])
  return Object.fromEntries(await Promise.all(texts))
}

test(
  'the package has what the document makes; if not, run npm run sdk typescript',
  withGenerator,
  async (t) => {
    const folder = await temporaryFolder(t)
    await generate('typescript', join(folder, 'made'))
    await copyIntoPackage(join(folder, 'made'), join(folder, 'copy'))
    const [committed, made] = [await readFolder(packaged), await readFolder(join(folder, 'copy'))]
    assert.deepEqual(Object.keys(committed), Object.keys(made))
    for (const [file, text] of Object.entries(made))
      assert.ok(committed[file] === text, `${file} is not current`)
  },
)

/** As `npm publish` would send it, unpacked in a program's node_modules; its files. */
async function install(t: TestContext, program: string): Promise<string[]> {
  const source = join(await temporaryFolder(t), 'package')
  const own = (path: string) => !/\/(node_modules|dist)$/.test(path)
  await cp(join(root, 'clients/typescript'), source, { recursive: true, filter: own })
  const PATH = [join(root, 'node_modules/.bin'), process.env.PATH].join(delimiter)
  const printed = await run({
    file: 'npm',
    args: ['pack', '--json'],
    cwd: source,
    env: { PATH, npm_config_update_notifier: 'false' },
  })
  const [{ filename, files }] = Object.values(JSON.parse(printed)) as [
    { filename: string; files: { path: string }[] },
  ]
  await mkdir(join(program, 'node_modules/@mailwright'), { recursive: true })
  await run({ file: 'tar', args: ['-xzf', join(source, filename)], cwd: program })
  await rename(join(program, 'package'), join(program, 'node_modules/@mailwright/client'))
  return files.map(({ path }) => path)
}

test('the package as it is published has types and JavaScript, and does what a caller needs', async (t) => {
  const program = await temporaryFolder(t)
  const files = await install(t, program)
  const others = files.filter((path) => !/^dist\/.*\.(js|d\.ts)$/.test(path))
  assert.deepEqual(others.sort(), ['LICENSE', 'README.md', 'package.json'])
  await cp(new URL('journeys/journey.ts', import.meta.url), join(program, 'journey.ts'))
  await compile(program, { ...strict, ...typesOfNode, lib: ['esnext'], exactOptionalPropertyTypes: true })
  await walk(service, { file: process.execPath, args: ['journey.js'], cwd: program })
})
