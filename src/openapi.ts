import { writeFile } from 'node:fs/promises'
import { buildApp } from './app.ts'
import { openDatabase } from './database.ts'
import { createWorkQueue } from './work-queue.ts'

/** The document as it is committed: without PUBLIC_URL, made without a database. */
export async function openapiText(): Promise<string> {
  const unused = async () => {
    throw new Error('nothing is called while the document is made')
  }
  const app = await buildApp({
    db: openDatabase('postgres://unused'),
    derivations: createWorkQueue(),
    auth: {
      keys: {
        installation: '',
        sign: unused,
        signStored: unused,
        verify: unused,
        fingerprints: () => [],
        sealingKeys: [],
      },
      domainsClaim: '',
    },
  })
  await app.ready()
  const text = `${JSON.stringify(app.swagger(), null, 2)}\n`
  await app.close()
  return text
}

if (import.meta.main) {
  await writeFile(new URL('../openapi/openapi.json', import.meta.url), await openapiText())
}
