/** Cloned by each test file. */
export const templateDatabase = 'mailwright_template'

/** The login that the service has in tests; a member of the service's role and of nothing else. */
export const serviceLogin = { name: 'mailwright_test_service', password: 'only-for-tests' }
