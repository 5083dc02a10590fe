#include "check.h"
int check_repair(const struct request *request) {
    (void)request;
    return 3;
}
