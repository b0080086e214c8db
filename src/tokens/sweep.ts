import type pg from 'pg'

const kept = `interval '90 days'`

/**
 * Deletes the rows of tokens that ended long ago by expiry. What was made with them expired no later, so it goes in the
 * same statement; a revoked one stays until then, since without its row nobody could tell who had it.
 */
export async function sweepTokens(query: (text: string) => Promise<pg.QueryResult>): Promise<void> {
  await query(`delete from app.tokens where expires_at < now() - ${kept}`)
}
