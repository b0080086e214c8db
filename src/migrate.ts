import { readConfig } from './config.ts'
import { migrate } from './migrations.ts'
import { loginOf } from './roles.ts'

const config = readConfig(process.env)
const ownerUrl = config.migrationDatabaseUrl ?? config.databaseUrl
if (!ownerUrl) {
  console.error('npm run migrate needs DATABASE_URL (the embedded Postgres is migrated at every start).')
  process.exit(2)
}
const service = config.databaseUrl && config.migrationDatabaseUrl ? loginOf(config.databaseUrl) : undefined
const done = await migrate({ ownerUrl, ...(service && { service }) })
console.log(done.length ? `Applied ${done.join(', ')}.` : 'The schema is current.')
