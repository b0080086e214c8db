import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = new URL('..', import.meta.url)
const inRoot = (path: string) => fileURLToPath(new URL(path, root))

/** What clients/install-tools puts on a machine. */
export const tools = {
  'openapi-ts': inRoot('clients/typescript/node_modules/@hey-api/openapi-ts/bin/run.js'),
  'openapi-python-client': inRoot('sdk/tools/venv/bin/openapi-python-client'),
  python: inRoot('sdk/tools/venv/bin/python'),
  'oapi-codegen': inRoot('sdk/tools/bin/oapi-codegen'),
  go: inRoot('sdk/tools/bin/go'),
  oasdiff: inRoot('sdk/tools/bin/oasdiff'),
}

/** Why something is not done here; false where it can be, and where a continuous integration has to. */
export function lacks(...names: (keyof typeof tools)[]): string | false {
  if (process.env.CI === 'true') return false
  const missing = names.filter((name) => !existsSync(tools[name]))
  return missing.length > 0 && `not installed: ${missing.join(', ')} (npm run sdk:tools)`
}
