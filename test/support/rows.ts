import type pg from 'pg'

/** All that the schemas of the service, of the mail servers and of the job queue hold, new tables included. */
export async function everyRow(admin: pg.Pool): Promise<string[]> {
  const { rows: tables } = await admin.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name
     from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
     where n.nspname in ('app', 'mail', 'graphile_worker') and c.relkind in ('r', 'p') order by 1`,
  )
  const contents = await Promise.all(
    tables.map(({ name }) =>
      admin.query<{ text: string }>(`select t::text as text from ${name} as t order by 1`),
    ),
  )
  return contents.flatMap(({ rows }, i) => rows.map(({ text }) => `${tables[i]?.name} ${text}`))
}
