import type { CompiledQuery, RawBuilder } from 'kysely'
import type { Db, Tx } from './database.ts'

/** Stands for a value that each execution brings along. */
class Place {
  readonly name: PropertyKey
  constructor(name: PropertyKey) {
    this.name = name
  }
}

/** The names of the prepared statements by their texts; each connection prepares one at its first use of it. */
const names = new Map<string, string>()

export function nameOf(text: string): string | undefined {
  return names.get(text)
}

/**
 * A statement that is always the same but for its values: built and compiled once in a process, and parsed and planned
 * once on a connection (PostgreSQL, PREPARE). For what runs at every request and is a few probes of indexes whatever the
 * values are. `build` gets each value as if it were there, and may pass it on, but cannot look at it.
 */
export function prepare<Values extends object, Row>(
  name: string,
  build: (values: Values) => RawBuilder<Row>,
): (db: Db | Tx, values: Values) => Promise<Row[]> {
  let compiled: CompiledQuery<Row> | undefined
  const places = new Proxy({}, { get: (_, key) => new Place(key) }) as Values
  return async (db, values) => {
    if (compiled === undefined) {
      compiled = build(places).compile(db)
      names.set(compiled.sql, name)
    }
    const parameters = compiled.parameters.map((value) =>
      value instanceof Place ? values[value.name as keyof Values] : value,
    )
    return (await db.executeQuery<Row>({ ...compiled, parameters })).rows
  }
}

/**
 * For a hot statement that has two or three shapes, by what it is to do: it is built each time, but each shape is parsed
 * and planned once on a connection, which keeps them all.
 */
export async function runPrepared<Row>(
  db: Db | Tx,
  name: string,
  statement: RawBuilder<Row>,
): Promise<Row[]> {
  const compiled = statement.compile(db)
  if (!names.has(compiled.sql)) names.set(compiled.sql, `${name}-${names.size}`)
  return (await db.executeQuery<Row>(compiled)).rows
}
