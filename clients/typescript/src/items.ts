/** What the operations that list something answer. */
export interface Page<Item> {
  items: Item[]
  next: string | null
}

/**
 * All items of a list, page by page as they are needed:
 *
 *     for await (const mailbox of items(listMailboxes, { client, query: { domain: 'example.jp' } })) …
 */
export async function* items<Item, Options extends { query?: { cursor?: string } }>(
  list: (options: Options) => Promise<{ data: Page<Item> }>,
  options: Options,
): AsyncGenerator<Item, void, undefined> {
  let query = options.query
  for (;;) {
    const { data } = await list(query === undefined ? options : { ...options, query })
    yield* data.items
    if (data.next === null) return
    query = { ...query, cursor: data.next }
  }
}
