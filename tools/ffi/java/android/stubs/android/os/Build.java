package android.os;

public class Build {
    public static class VERSION {
        /** Not a constant: the compiler would leave one of two branches out. */
        public static final int SDK_INT = Integer.getInteger("sdk", 0);
    }
}
