/* One program that plays every part, by its words:
   ready | notify | newline N | fork PIDFILE | listen PATH | exit CODE | ignore-term | child | say TEXT | env NAME |
   on-hup FILE (write it at SIGHUP) | sleep (for ever) | write PATH TEXT | after FILE (wait until it exists) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
static void tell(const char *text) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (!path || s < 0) _exit(90);
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    if (sendto(s, text, strlen(text), 0, (void *)&to, sizeof to) < 0) { perror("notify"); _exit(91); }
    close(s);
}
static const char *on_hup;
static void hup(int signal) {
    char b[256] = "hup ";
    int f = open(on_hup, O_RDONLY);
    int n = f < 0 ? -1 : read(f, b + 4, 240);
    (void)signal;
    if (n < 0 || write(1, b, n + 4) < 0 || write(1, "\n", 1) < 0) _exit(97);
    close(f);
}
int main(int c, char **v) {
    setvbuf(stdout, 0, _IOLBF, 0);
    for (int i = 1; i < c; i++) {
        if (!strcmp(v[i], "notify")) tell(v[++i]);
        else if (!strcmp(v[i], "newline")) { if (write(atoi(v[++i]), "\n", 1) != 1) return 92; }
        else if (!strcmp(v[i], "fork")) {
            const char *file = v[++i];
            if (fork()) return 0;
            setsid();
            if (fork()) return 0;
            if (*file) { FILE *f = fopen(file, "w"); if (!f) return 93; fprintf(f, "%d\n", getpid()); fclose(f); }
        } else if (!strcmp(v[i], "listen")) {
            struct sockaddr_un at = {.sun_family = AF_UNIX};
            strncpy(at.sun_path, v[++i], sizeof at.sun_path - 1);
            unlink(at.sun_path);
            int s = socket(AF_UNIX, SOCK_STREAM, 0);
            if (bind(s, (void *)&at, sizeof at) || listen(s, 9)) return 94;
        } else if (!strcmp(v[i], "exit")) return atoi(v[++i]);
        else if (!strcmp(v[i], "abort")) abort();
        else if (!strcmp(v[i], "on-hup")) { on_hup = v[++i]; signal(SIGHUP, hup); }
        else if (!strcmp(v[i], "ignore-term")) signal(SIGTERM, SIG_IGN);
        else if (!strcmp(v[i], "child")) { if (!fork()) { setsid(); signal(SIGTERM, SIG_IGN); for (;;) pause(); } }
        else if (!strcmp(v[i], "say")) puts(v[++i]);
        else if (!strcmp(v[i], "env")) { const char *e = getenv(v[++i]); printf("%s=%s\n", v[i], e ? e : "(none)"); }
        else if (!strcmp(v[i], "ids")) printf("ids %d %d\n", getuid(), getgid());
        else if (!strcmp(v[i], "read")) { char b[256] = {0}; int f = open(v[++i], O_RDONLY); if (f < 0 || read(f, b, 255) < 0) { perror(v[i]); return 95; } printf("read %s\n", b); }
        else if (!strcmp(v[i], "write")) { FILE *f = fopen(v[++i], "w"); if (!f) { perror(v[i]); return 96; } fputs(v[++i], f); fclose(f); }
        else if (!strcmp(v[i], "after")) { i++; while (access(v[i], F_OK)) usleep(1000); }
        else if (!strcmp(v[i], "descriptors")) { for (int n = 0; n < 256; n++) if (fcntl(n, F_GETFD) >= 0) printf("fd %d\n", n); }
        else if (!strcmp(v[i], "sleep")) for (;;) pause();
        else { fprintf(stderr, "unknown word %s\n", v[i]); return 99; }
    }
    return 0;
}
