import { readConfig } from './config.ts'
import { migrate } from './migrations.ts'
import { loginOf } from './roles.ts'

try {
  const done = await migrateFrom(process.env)
  console.log(done.length ? `Applied ${done.join(', ')}.` : 'The schema is current.')
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}

function migrateFrom(env: Record<string, string | undefined>): Promise<string[]> {
  const { databaseUrl, migrationDatabaseUrl } = readConfig(env)
  const ownerUrl = migrationDatabaseUrl ?? databaseUrl
  if (!ownerUrl) {
    throw new Error('npm run migrate needs DATABASE_URL (the embedded Postgres is migrated at every start).')
  }
  return migrate({
    ownerUrl,
    ...(databaseUrl && migrationDatabaseUrl && { service: loginOf(databaseUrl) }),
  })
}
