/* tests/tap.h - runs a Check suite so that each test is one TAP line.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_TAP_H
#define REIN_TESTS_TAP_H

#include <check.h>
#include <stdlib.h>

static inline int tap_run(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
