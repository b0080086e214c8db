/** How libpq is told of a database, by the names of its own parameters. */
export type Connection = Readonly<Record<string, string>>

/** A URL in libpq's parameters (PostgreSQL documentation, 34.1.1). */
export function toConnection(url: string): Connection {
  // the driver allows an empty host before a socket in ?host=, the URL standard does not
  const { hostname, port, pathname, username, password, searchParams } = new URL(
    url.replace('@/', '@localhost/'),
  )
  const connection: Record<string, string> = {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port || '5432',
    dbname: decodeURIComponent(pathname.slice(1)),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    ...Object.fromEntries(searchParams),
  }
  // Dovecot parts the parameters at spaces and knows no quotes.
  const odd = Object.entries(connection).find(([, value]) => /[\s'"\\]/.test(value))
  if (odd) throw new Error(`The database's ${odd[0]} holds a space or a quote, which Dovecot cannot be told.`)
  return connection
}

/** For Dovecot 2.3. */
export function toKeywords(connection: Connection): string {
  return Object.entries(connection)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
}

/** For Dovecot 2.4, a line for each; it takes `%{` for the beginning of a variable (var-expand-lexer.l). */
export function toParameters(connection: Connection): string[] {
  return Object.entries(connection)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name} = "${value.replaceAll('%{', '%%{')}"`)
}

/** For Postfix, whose own form cannot name the port of a socket. */
export function toUri(connection: Connection): string {
  const query = Object.entries(connection)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `postgresql:///?${query.join('&')}`
}
